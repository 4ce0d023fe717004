//go:build linux && amd64

// Package process is the three processes of an interception. The front is the one that was started: it stands for the
// program, passes signals on, and ends as the program does. The tracer is its child and lives as long as anything that
// the program has left behind. The stub is the tracer's child: it installs the filter and becomes the program.
//
// Each ends with the other two: the tracer when the front is killed (the control socket closes), the programs when the
// tracer is killed (PTRACE_O_EXITKILL).
package process

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Exit statuses of the front when the program did not run, as env(1) and timeout(1) have them.
const (
	StatusUsage         = 2
	StatusFailed        = 125
	StatusNotExecutable = 126
	StatusNotFound      = 127
)

// The first argument of the other two processes, which are this program again.
const (
	TracerArgument = "tracer"
	StubArgument   = "stub"
)

// self is this program, also where its file was replaced or is out of reach.
const self = "/proc/self/exe"

// forwarded is what the front passes on.
var forwarded = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGCONT,
	unix.SIGWINCH, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU,
}

// Front runs the command of the options and returns the exit status to end with, or does not return: the front dies by
// the signal that the program died of.
func Front(options Options) int {
	if err := options.hold(); err != nil {
		return complain(StatusUsage, err)
	}
	caught := make(chan os.Signal, 64)
	for _, number := range forwarded {
		// What the caller ignores (nohup, a shell's background job) stays ignored.
		if !signal.Ignored(number) {
			signal.Notify(caught, number)
		}
	}
	streams := inherited()
	tracer, err := startTracer(options)
	if err != nil {
		return complain(StatusFailed, err)
	}
	messages := make(chan message)
	go listen(tracer, messages)
	stops := uint32(0)
	for {
		select {
		case number := <-caught:
			passOn(tracer, number.(unix.Signal), stops)
		case received, ok := <-messages:
			if !ok {
				return complain(StatusFailed, fmt.Errorf("the tracer was killed, and every program with it"))
			}
			switch received.kind {
			case started:
				letGo(withoutErrors(streams))
			case stopped:
				stops++
				// The caller's shell sees that its job has stopped. SIGTSTP itself is caught.
				_ = unix.Kill(os.Getpid(), unix.SIGSTOP)
			case failed:
				return complain(int(received.number), fmt.Errorf("%s", received.text))
			case ended:
				return endAs(unix.WaitStatus(received.number))
			}
		}
	}
}

// complain writes an error and returns the status.
func complain(status int, err error) int {
	fmt.Fprintf(os.Stderr, "kins-intercept: %v\n", err)
	return status
}

// withoutErrors leaves out the standard error, which the front may need itself.
func withoutErrors(descriptors []int) []int {
	var list []int
	for _, descriptor := range descriptors {
		if descriptor != unix.Stderr {
			list = append(list, descriptor)
		}
	}
	return list
}

// startTracer starts the tracer with every descriptor of the caller, and returns the front's end of the control socket.
func startTracer(options Options) (control, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socketpair: %w", err)
	}
	defer unix.Close(pair[1])
	theirs, err := unix.Dup(pair[1])
	if err != nil {
		return 0, fmt.Errorf("dup: %w", err)
	}
	defer unix.Close(theirs)
	arguments := append([]string{"kins-intercept", TracerArgument, strconv.Itoa(theirs)}, options.arguments()...)
	if _, err := start(arguments); err != nil {
		return 0, fmt.Errorf("the tracer: %w", err)
	}
	return control(pair[0]), nil
}

// start runs this program again with the caller's environment, working directory and descriptors.
func start(arguments []string) (int, error) {
	return syscall.ForkExec(self, arguments, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
}

// listen passes messages on and closes the channel when the tracer has ended.
func listen(tracer control, messages chan<- message) {
	defer close(messages)
	for {
		received, err := tracer.receive()
		if err != nil {
			return
		}
		messages <- received
	}
}

// passOn sends a signal to the program, with how many stops of it are known here. What a terminal's keys or its size
// send goes to the program at the same time, as it is in the same process group: once is enough.
func passOn(tracer control, number unix.Signal, stops uint32) {
	switch number {
	case unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP, unix.SIGWINCH, unix.SIGTTIN, unix.SIGTTOU:
		if isInForeground() {
			return
		}
	}
	_ = tracer.send(message{kind: signalled, number: stops<<signalBits | uint32(number)})
}

// isInForeground says whether this process group is the one that the controlling terminal sends its signals to.
func isInForeground() bool {
	terminal, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(terminal)
	group, err := unix.IoctlGetInt(terminal, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// endAs returns the program's exit status, or dies of its signal.
func endAs(status unix.WaitStatus) int {
	if status.Exited() {
		return status.ExitStatus()
	}
	number := status.Signal()
	// One core is enough.
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	resetSignal(number)
	_ = unix.Kill(os.Getpid(), number)
	return 128 + int(number)
}

// resetSignal gives a signal its default effect. signal.Reset does not: of SIGQUIT and others it would leave Go's
// handler, which prints all goroutines.
func resetSignal(number unix.Signal) {
	// struct sigaction of the kernel: handler, flags, restorer, mask. All zero: SIG_DFL.
	var action [4]uint64
	const maskSize = 8
	_, _, _ = unix.RawSyscall6(
		unix.SYS_RT_SIGACTION, uintptr(number), uintptr(unsafe.Pointer(&action)), 0, maskSize, 0, 0)
}
