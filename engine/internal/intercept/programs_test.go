//go:build linux && amd64

package intercept_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// goPrograms run under the interception. Their result is the exit status.
var goPrograms = map[string]func(arguments []string) int{
	"cat":                cat,
	"cat-often":          catOften,
	"types":              types,
	"thread-cgroup":      threadCgroup,
	"exec-in-thread":     execInThread,
	"storm":              storm,
	"exit-at-once":       exitAtOnce,
	"trace-me":           traceMe,
	"chroot":             chroot,
	"thread-chroot":      threadChroot,
	"count":              count,
	"parallel-exec":      parallelExec,
	"not-dumpable":       notDumpable,
	"as-user":            asUser,
	"own-filter":         ownFilter,
	"thread-directories": threadDirectories,
	"answer-once":        answerOnce,
	"ask":                ask,
	"echo-datagram":      echoDatagram,
	"ask-datagram":       askDatagram,
	"chown-elsewhere":    chownElsewhere,
}

func report(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func cat(arguments []string) int {
	content, err := os.ReadFile(arguments[0])
	fmt.Print(string(content))
	return report(err)
}

// catOften reads a file so many times.
func catOften(arguments []string) int {
	times, err := strconv.Atoi(arguments[0])
	for range times {
		if err == nil {
			_, err = os.ReadFile(arguments[1])
		}
	}
	return report(err)
}

// types prints what statfs and fstatfs say.
func types(arguments []string) int {
	var byName, byDescriptor unix.Statfs_t
	descriptor, err := unix.Open(arguments[0], unix.O_RDONLY, 0)
	if err == nil {
		err = unix.Fstatfs(descriptor, &byDescriptor)
	}
	if err == nil {
		err = unix.Statfs(arguments[0], &byName)
	}
	fmt.Printf("%#x %#x\n", byName.Type, byDescriptor.Type)
	return report(err)
}

// threadCgroup reads its own file of /proc from a thread that is not the first.
func threadCgroup(arguments []string) int {
	directory := filepath.Join(arguments[0], "processes", strconv.Itoa(os.Getpid()))
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return report(err)
	}
	if err := os.WriteFile(filepath.Join(directory, "cgroup"), []byte("mine"), 0o644); err != nil {
		return report(err)
	}
	return report(inThread(func() error {
		for _, name := range []string{"self", "thread-self", strconv.Itoa(unix.Gettid()), strconv.Itoa(os.Getpid())} {
			content, err := os.ReadFile("/proc/" + name + "/cgroup")
			if err != nil {
				return err
			}
			if string(content) != "mine" {
				return fmt.Errorf("%s: %q", name, content)
			}
		}
		return nil
	}))
}

// inThread runs a function on a thread that is not the first one of the process.
func inThread(function func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			result <- fmt.Errorf("this is the first thread")
			return
		}
		result <- function()
	}()
	return <-result
}

// execInThread becomes another program from a thread that is not the first, while others make redirected calls.
func execInThread(arguments []string) int {
	for range 8 {
		go func() {
			for {
				_, _ = os.ReadFile(arguments[0])
			}
		}()
	}
	time.Sleep(20 * time.Millisecond)
	return report(inThread(func() error { return syscall.Exec(arguments[1], arguments[1:], os.Environ()) }))
}

// storm reads a file while its threads are hit by SIGURG as fast as they can be, as by Go's own pre-emption.
func storm(arguments []string) int {
	signal.Ignore(unix.SIGURG)
	signal.Reset(unix.SIGURG)
	var group sync.WaitGroup
	var wrong, done atomic.Int64
	for range 4 {
		group.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			thread := unix.Gettid()
			stop := make(chan struct{})
			go shoot(thread, stop)
			for range 300 {
				if content, err := os.ReadFile(arguments[0]); err != nil || string(content) != "redirected\n" {
					wrong.Add(1)
				}
				done.Add(1)
			}
			close(stop)
		})
	}
	group.Wait()
	fmt.Println(done.Load(), wrong.Load())
	return 0
}

func shoot(thread int, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			_ = unix.Tgkill(os.Getpid(), thread, unix.SIGURG)
			time.Sleep(50 * time.Microsecond)
		}
	}
}

// exitAtOnce ends the process while its threads make redirected calls.
func exitAtOnce(arguments []string) int {
	for range 16 {
		go func() {
			runtime.LockOSThread()
			for {
				_, _ = os.ReadFile(arguments[0])
			}
		}()
	}
	time.Sleep(5 * time.Millisecond)
	return 7
}

// traceMe starts a child that asks to be traced by this program: it has a tracer already.
func traceMe([]string) int {
	runtime.LockOSThread()
	command := exec.Command("/bin/true")
	command.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := command.Run(); err == nil || !os.IsPermission(err) {
		fmt.Println("PTRACE_TRACEME:", err)
		return 1
	}
	return 0
}

// chroot reads a file before and after it changes its root directory.
func chroot(arguments []string) int {
	if code := cat(arguments[:1]); code != 0 {
		return code
	}
	if err := unix.Chroot(arguments[1]); err != nil {
		return report(err)
	}
	if err := unix.Chdir("/"); err != nil {
		return report(err)
	}
	if _, err := os.ReadFile(arguments[0]); !os.IsNotExist(err) {
		fmt.Println("after chroot:", err)
		return 1
	}
	return 0
}

// threadChroot does the same in one thread with a root directory of its own; the rules hold on for the others.
func threadChroot(arguments []string) int {
	err := inThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return err
		}
		if chroot(arguments) != 0 {
			return fmt.Errorf("wrong in the thread")
		}
		return nil
	})
	if err != nil {
		return report(err)
	}
	return cat(arguments[:1])
}

// count writes a line into a file every ten milliseconds.
func count(arguments []string) int {
	file, err := os.OpenFile(arguments[0], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	for err == nil {
		time.Sleep(10 * time.Millisecond)
		_, err = file.WriteString("line\n")
	}
	return report(err)
}

// parallelExec starts many children from many threads at once.
func parallelExec(arguments []string) int {
	var group sync.WaitGroup
	var wrong atomic.Int64
	for range 16 {
		group.Go(func() {
			for range 5 {
				output, err := exec.Command("cat", arguments[0]).Output()
				if err != nil || string(output) != "redirected\n" {
					wrong.Add(1)
				}
			}
		})
	}
	group.Wait()
	fmt.Println(wrong.Load())
	return 0
}

// counted is the statistics file as far as the tests look at it.
type counted struct {
	Backend  string            `json:"backend"`
	Stops    map[string]uint64 `json:"stops"`
	Matched  []uint64          `json:"matched"`
	Failures uint64            `json:"failures"`
	Tracees  struct{ Now, Peak int }
}

// counted reads the statistics; nil where there are none yet.
func (trial *trial) counted() *counted {
	content, err := os.ReadFile(trial.statistics)
	if err != nil {
		return nil
	}
	read := &counted{}
	trial.must(json.Unmarshal(content, read))
	return read
}

// plain runs a command without interception and says whether it has succeeded.
func (trial *trial) plain(arguments ...string) bool {
	return exec.Command(arguments[0], arguments[1:]...).Run() == nil
}
