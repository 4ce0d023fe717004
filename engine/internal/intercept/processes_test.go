//go:build linux && amd64

package intercept_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestExitStatus(t *testing.T) {
	each(t, func(trial *trial) {
		for _, wanted := range []int{0, 1, 42, 255} {
			if done := trial.run("sh", "-c", "exit "+strconv.Itoa(wanted)); done.status.ExitStatus() != wanted {
				trial.Errorf("%d: wait status %#x", wanted, done.status)
			}
		}
	})
}

func TestDeathByASignal(t *testing.T) {
	each(t, func(trial *trial) {
		for _, wanted := range []syscall.Signal{
			unix.SIGTERM, unix.SIGKILL, unix.SIGQUIT, unix.SIGSEGV, unix.SIGPIPE, unix.SIGINT, unix.SIGHUP,
		} {
			done := trial.run("sh", "-c", `kill -$0 $$`, strconv.Itoa(int(wanted)))
			if !done.status.Signaled() || done.status.Signal() != wanted || done.stderr != "" {
				trial.Errorf("%v: wait status %#x, %s", wanted, done.status, done.stderr)
			}
		}
	})
}

func TestCommandThatCannotRun(t *testing.T) {
	each(t, func(trial *trial) {
		for command, wanted := range map[string]int{
			"no-such-command": 127, "/no/such/command": 127, "/etc/passwd": 126, filepath.Join(trial.from, "missing"): 127,
		} {
			done := trial.run(command)
			if done.status.ExitStatus() != wanted || !strings.Contains(done.stderr, command) {
				trial.Errorf("%s: wait status %#x, %s", command, done.status, done.stderr)
			}
		}
	})
}

func TestWhatIsInheritedPassesThrough(t *testing.T) {
	each(t, func(trial *trial) {
		limited, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		line := []string{"sh", "-c", `cat; cat <&7; pwd; echo "$NOTIFY_SOCKET"; umask; ls /proc/self/fd; cut -d " " -f 5,6 /proc/self/stat`}
		plain := trial.inheriting(exec.CommandContext(limited, line[0], line[1:]...))
		if !strings.HasPrefix(plain, "input\ninner\n/\n/run/notify\n") {
			trial.Fatalf("without interception: %q", plain)
		}
		if output := trial.inheriting(trial.command(limited, line...)); output != plain {
			trial.Errorf("%q instead of %q", output, plain)
		}
	})
}

// inheriting runs a command with a working directory, a variable, an input and a descriptor 7 of its own.
func (trial *trial) inheriting(command *exec.Cmd) string {
	trial.Helper()
	file, err := os.Open(filepath.Join(trial.to, "directory", "inner"))
	trial.must(err)
	defer file.Close()
	command.ExtraFiles = []*os.File{nil, nil, nil, nil, file}
	command.Stdin = strings.NewReader("input\n")
	command.Dir = "/"
	command.Env = append(os.Environ(), "NOTIFY_SOCKET=/run/notify")
	output, err := command.CombinedOutput()
	if err != nil {
		trial.Fatalf("%v\n%s", err, output)
	}
	return string(output)
}

// started is a command under the interception that runs until the test ends it.
type started struct {
	*exec.Cmd
	program int // pid
	tracer  int // pid
}

// start runs a shell script, and returns when it has printed its own pid.
func (trial *trial) start(script string, arguments ...string) *started {
	trial.Helper()
	command := trial.command(context.Background(), append([]string{"sh", "-c", script}, arguments...)...)
	// In the tests' own process group nobody could be stopped by SIGTSTP where that is an orphaned one (setsid, nohup).
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	output, err := command.StdoutPipe()
	trial.must(err)
	trial.must(command.Start())
	trial.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	line := make([]byte, 32)
	length, err := output.Read(line)
	trial.must(err)
	program, err := strconv.Atoi(strings.TrimSpace(string(line[:length])))
	trial.must(err)
	go func() { _, _ = io.Copy(io.Discard, output) }()
	return &started{command, program, parentOf(program)}
}

// parentOf reads the fourth field of proc_pid_stat(5).
func parentOf(pid int) int {
	content, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(content), ") ")
	parent, _ := strconv.Atoi(strings.Fields(rest)[1])
	return parent
}

func TestSignalsArePassedOn(t *testing.T) {
	each(t, func(trial *trial) {
		for number, name := range map[syscall.Signal]string{
			unix.SIGTERM: "TERM", unix.SIGINT: "INT", unix.SIGHUP: "HUP", unix.SIGUSR1: "USR1", unix.SIGWINCH: "WINCH",
		} {
			running := trial.start(`trap 'exit 33' ` + name + `; echo $$; while :; do sleep 0.05; done`)
			trial.must(running.Process.Signal(number))
			err := running.Wait()
			if code := running.ProcessState.ExitCode(); code != 33 {
				trial.Errorf("%s: %d, %v", name, code, err)
			}
		}
	})
}

// TestWhatTheCallerIgnoresStaysIgnored: nohup(1), and the background jobs of a shell.
func TestWhatTheCallerIgnoresStaysIgnored(t *testing.T) {
	each(t, func(trial *trial) {
		inner := trial.command(context.Background(), "sh", "-c", "kill -INT $$; kill -HUP $$; echo alive")
		ignoring := append([]string{"-c", `trap "" INT HUP; exec "$@"`, "sh"}, inner.Args...)
		ignoring[3] = inner.Path
		output, err := exec.Command("sh", ignoring...).CombinedOutput()
		if err != nil || string(output) != "alive\n" {
			trial.Errorf("%v, %q", err, output)
		}
	})
}

// TestTheTreeEndsWithTheTracer, because calls that the filter sends to a tracer that is gone would answer ENOSYS.
func TestTheTreeEndsWithTheTracer(t *testing.T) {
	each(t, func(trial *trial) {
		running := trial.start(`sleep 1000 & echo $$; wait`)
		children := trial.childrenOf(running.program)
		trial.must(unix.Kill(running.tracer, unix.SIGKILL))
		for _, pid := range append(children, running.program) {
			trial.eventually("the tree is gone", func() bool { return isGone(pid) })
		}
		if err := running.Wait(); running.ProcessState.ExitCode() != 125 {
			trial.Errorf("the front: %v", err)
		}
	})
}

func TestTheTreeEndsWithTheFront(t *testing.T) {
	each(t, func(trial *trial) {
		running := trial.start(`sleep 1000 & echo $$; wait`)
		children := trial.childrenOf(running.program)
		trial.must(running.Process.Kill())
		for _, pid := range append(children, running.program, running.tracer) {
			trial.eventually("the tree is gone", func() bool { return isGone(pid) })
		}
	})
}

// childrenOf waits for the only child of a process.
func (trial *trial) childrenOf(parent int) []int {
	trial.Helper()
	var children []int
	trial.eventually("there is a child", func() bool {
		children = nil
		entries, err := os.ReadDir("/proc")
		trial.must(err)
		for _, entry := range entries {
			if pid, err := strconv.Atoi(entry.Name()); err == nil && parentOf(pid) == parent {
				children = append(children, pid)
			}
		}
		return len(children) > 0
	})
	return children
}

// TestWhatTheProgramLeavesBehindIsFollowedOn: containers outlive a restart of containerd.
func TestWhatTheProgramLeavesBehindIsFollowedOn(t *testing.T) {
	each(t, func(trial *trial) {
		result, end := filepath.Join(trial.directory, "result"), filepath.Join(trial.directory, "end")
		orphan := `(until test -e "$2"; do sleep 0.02; done; cat "$0/file" > "$1") > /dev/null 2>&1 & echo $$; exit 5`
		running := trial.start(orphan, trial.from, result, end)
		_ = running.Wait()
		if code := running.ProcessState.ExitCode(); code != 5 {
			trial.Errorf("exit %d", code)
		}
		trial.write(end, "")
		trial.eventually("the orphan has read", func() bool {
			content, _ := os.ReadFile(result)
			return string(content) == "redirected\n"
		})
		trial.eventually("the tracer ends with the last process", func() bool { return isGone(running.tracer) })
	})
}

// TestNobodyElseHoldsTheOutputOpen: whoever reads a pipe to its end waits for the program, not for its orphans' tracer.
func TestNobodyElseHoldsTheOutputOpen(t *testing.T) {
	each(t, func(trial *trial) {
		// The orphan outlives the test's patience.
		trial.expect("done\n", "sh", "-c", "sleep 1000 > /dev/null 2>&1 & echo $! > $0/pid; echo done", trial.directory)
		content, err := os.ReadFile(filepath.Join(trial.directory, "pid"))
		trial.must(err)
		pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
		trial.must(err)
		trial.must(unix.Kill(pid, unix.SIGKILL))
	})
}

// lines is how often the program `count` has written.
func lines(name string) int {
	content, _ := os.ReadFile(name)
	return strings.Count(string(content), "\n")
}

func TestStopAndContinue(t *testing.T) {
	each(t, func(trial *trial) {
		name := filepath.Join(trial.directory, "lines")
		running := trial.start(`echo $$; exec "$@"`, append([]string{"sh"}, program("count", name)...)...)
		trial.eventually("it runs", func() bool { return lines(name) > 0 })
		for round := range 3 {
			trial.must(unix.Kill(running.program, unix.SIGSTOP))
			trial.eventually("it stands", func() bool { return stands(name) })
			trial.eventually("the front stands too", func() bool { return state(running.Process.Pid) == "T" })
			before := lines(name)
			// A shell that resumes a job sends this to the whole process group, kill(1) to one of the two.
			for _, resumed := range [][]int{{running.Process.Pid}, {running.program}, {running.program, running.Process.Pid}}[round] {
				trial.must(unix.Kill(resumed, unix.SIGCONT))
			}
			trial.eventually("it goes on", func() bool { return lines(name) > before })
			trial.eventually("the front goes on too", func() bool { return state(running.Process.Pid) != "T" })
		}
	})
}

// stands says whether nothing is written for a while.
func stands(name string) bool {
	before := lines(name)
	time.Sleep(100 * time.Millisecond)
	return lines(name) == before
}

func TestStopByTheTerminalsSignal(t *testing.T) {
	each(t, func(trial *trial) {
		name := filepath.Join(trial.directory, "lines")
		running := trial.start(`echo $$; exec "$@"`, append([]string{"sh"}, program("count", name)...)...)
		trial.eventually("it runs", func() bool { return lines(name) > 0 })
		trial.must(running.Process.Signal(unix.SIGTSTP))
		trial.eventually("both stand", func() bool { return stands(name) && state(running.Process.Pid) == "T" })
		before := lines(name)
		trial.must(running.Process.Signal(unix.SIGCONT))
		trial.eventually("it goes on", func() bool { return lines(name) > before })
		trial.must(running.Process.Signal(unix.SIGTERM))
		_ = running.Wait()
		if status := running.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != unix.SIGTERM {
			trial.Errorf("wait status %#x", status)
		}
	})
}

func TestZombiesAndOrphansAreSeenByTheirParents(t *testing.T) {
	each(t, func(trial *trial) {
		script := `for number in 1 2 3 4 5; do (exit $number) & done; wait $! || test $? -eq 5
			(sh -c "cat $0/file & exit" ) ; sleep 0.1; kill -0 $$`
		trial.expect("redirected\n", "sh", "-euc", script, trial.from)
	})
}
