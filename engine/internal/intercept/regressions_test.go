//go:build linux && amd64

package intercept_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kins/engine/internal/intercept/filter"
)

// Each of these is what a tracer of others once got wrong; the project and where it is told stand with it. Others are
// tested elsewhere: the order of stops that a kernel's version does not tell (proot issue 106; the stub measures it), a
// child that stops before its parent's event (proot-rs issue 44; TestManyChildrenAtOnce), a process that ends while a
// thread is at a seccomp-stop (rr issue 1762; TestThreadsThatEndAtAnyTime), execve in a thread (strace's
// tests/threads-execve; TestExecFromAThreadThatIsNotTheFirst), no path at all (proot's test-5bed7141; calls.c), a path
// that ends with its page (strace's tests/umovestr; edges.c).

// TestDumpable: a program that is not dumpable lets nobody but its tracer read its memory.
func TestDumpable(t *testing.T) {
	each(t, func(trial *trial) {
		trial.expect("redirected\n", program("not-dumpable", filepath.Join(trial.from, "file"))...)
	})
}

// TestInterruptedSleep: a sleep that is stopped and continued is begun again by restart_syscall(2), whose number is not
// the call's (strace's tests/restart_syscall).
func TestInterruptedSleep(t *testing.T) {
	each(t, func(trial *trial) {
		running := trial.start(`echo $$; sleep 0.5; cat "$0/file" > "$1"`, trial.from, filepath.Join(trial.directory, "result"))
		sleeper := trial.childrenOf(running.program)[0]
		for range 3 {
			trial.must(unix.Kill(sleeper, unix.SIGSTOP))
			time.Sleep(20 * time.Millisecond)
			trial.must(unix.Kill(sleeper, unix.SIGCONT))
			time.Sleep(20 * time.Millisecond)
		}
		trial.must(running.Wait())
		content, err := os.ReadFile(filepath.Join(trial.directory, "result"))
		if string(content) != "redirected\n" {
			trial.Errorf("%q, %v", content, err)
		}
	})
}

// TestOneInAnother: a tree has one tracer and one supervisor, and a second is refused in words (proot's test-c5a7a0f0
// starts it in itself).
func TestOneInAnother(t *testing.T) {
	each(t, func(trial *trial) {
		inner := trial.command(t.Context(), "true").Args
		done := trial.run(append([]string{executable()}, inner[1:]...)...)
		if done.status.ExitStatus() != 125 || !strings.Contains(done.stderr, "kins-intercept: ") {
			trial.Errorf("wait status %#x, %s", done.status, done.stderr)
		}
	})
}

// TestFiltersOfItsOwn: a program's own filter is asked first (proot's tests of no-new-privs).
func TestFiltersOfItsOwn(t *testing.T) {
	each(t, func(trial *trial) {
		trial.expect("redirected\n", program("own-filter", filepath.Join(trial.from, "file"))...)
	})
}

// TestAnotherUsersRights: what is answered in another's place must not be more than that one may.
func TestAnotherUsersRights(t *testing.T) {
	each(t, func(trial *trial) {
		if os.Geteuid() != 0 {
			trial.Skip("only root can become another user")
		}
		open := filepath.Dir(trial.directory)
		trial.must(os.Chmod(open, 0o755))
		trial.must(os.Chmod(trial.directory, 0o755))
		trial.must(os.Chmod(filepath.Join(trial.to, "file"), 0o600))
		free := filepath.Join(trial.to, "free")
		trial.must(os.Mkdir(free, 0o777))
		trial.must(os.Chmod(free, 0o777))
		trial.expect("redirected\nEACCES EACCES\n", program("as-user", "12345", trial.from)...)
		var made syscall.Stat_t
		trial.must(syscall.Stat(filepath.Join(free, "made"), &made))
		if made.Uid != 12345 || made.Gid != 12345 || made.Mode&0o777 != 0o640 {
			trial.Errorf("of user %d, group %d, mode %o", made.Uid, made.Gid, made.Mode)
		}
	})
}

// TestWithoutRoot: everything works for an ordinary user too.
func TestWithoutRoot(t *testing.T) {
	each(t, func(trial *trial) {
		if os.Geteuid() != 0 {
			trial.Skip("the other tests do that already")
		}
		trial.must(os.Chmod(filepath.Dir(trial.directory), 0o755))
		// The test's own program may lie where only root may look.
		trial.install(executable())
		command := trial.command(t.Context(), "cat", filepath.Join(trial.from, "file"))
		command.Path = filepath.Join(trial.to, "program")
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
		trial.must(os.Chmod(trial.directory, 0o755))
		output, err := command.CombinedOutput()
		if string(output) != "redirected\n" {
			trial.Errorf("%q, %v", output, err)
		}
	})
}

// TestChangingDirectoryInThreads: each thread may have a working directory of its own (proot's test-chdir-thread-fork).
func TestChangingDirectoryInThreads(t *testing.T) {
	each(t, func(trial *trial) {
		trial.needsExecution()
		trial.expect("redirected\ninner\n", program("thread-directories", trial.from)...)
	})
}

func notDumpable(arguments []string) int {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return report(err)
	}
	return cat(arguments)
}

// asUser becomes another user, with that one as its group too, and looks at what it may do.
func asUser(arguments []string) int {
	var user int
	if _, err := fmt.Sscan(arguments[0], &user); err != nil {
		return report(err)
	}
	file := filepath.Join(arguments[1], "file")
	if code := cat([]string{file}); code != 0 {
		return code
	}
	unix.Umask(0o027)
	if err := syscall.Setgroups(nil); err != nil {
		return report(err)
	}
	if err := syscall.Setgid(user); err != nil {
		return report(err)
	}
	if err := syscall.Setuid(user); err != nil {
		return report(err)
	}
	_, opened := os.ReadFile(file)
	fmt.Println(unix.ErrnoName(numberOf(opened)), unix.ErrnoName(numberOf(unix.Access(file, unix.R_OK))))
	return report(os.WriteFile(filepath.Join(arguments[1], "free", "made"), nil, 0o666))
}

// numberOf is the number of an error; 0 where there is none.
func numberOf(err error) (number syscall.Errno) {
	errors.As(err, &number)
	return number
}

// ownFilter reads a file under a filter of the program's own, which forbids another call.
func ownFilter(arguments []string) int {
	runtime.LockOSThread()
	forbidden, err := filter.Program([]filter.Caught{{Number: unix.SYS_ACCT, NotZero: -1}}, unix.SECCOMP_RET_ERRNO|uint32(unix.EDOM))
	if err != nil {
		return report(err)
	}
	if _, err := filter.Install(forbidden, 0); err != nil {
		return report(err)
	}
	if _, _, number := unix.RawSyscall(unix.SYS_ACCT, 0, 0, 0); number != unix.EDOM {
		fmt.Println("acct:", number)
		return 1
	}
	return cat(arguments)
}

// threadDirectories reads files in threads that have working directories of their own.
func threadDirectories(arguments []string) int {
	for _, place := range [][2]string{{arguments[0], "file"}, {filepath.Join(arguments[0], "directory"), "inner"}} {
		err := inThread(func() error {
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return err
			}
			if err := unix.Chdir(place[0]); err != nil {
				return err
			}
			content, err := os.ReadFile(place[1])
			fmt.Print(string(content))
			return err
		})
		if err != nil {
			return report(err)
		}
	}
	return 0
}
