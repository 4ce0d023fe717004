//go:build linux && amd64

// Package ptrace intercepts system calls with a seccomp filter that stops only the chosen ones (SECCOMP_RET_TRACE) and a
// tracer that changes them. It follows the tree of processes; what a rule means is not decided here.
//
// Two kernels are meant: Linux (>= 4.8 and before) and gVisor, which lacks PTRACE_GET_SYSCALL_INFO and SECCOMP_RET_USER_NOTIF
// and has the seccomp-stop before the syscall-enter-stop.
package ptrace

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"kins/engine/internal/intercept/paths"
	"kins/engine/internal/intercept/rules"
	"kins/engine/internal/intercept/sockets"
	"kins/engine/internal/intercept/statistics"
)

// The first arguments of the two calls by which the stub shows the order of stops: as addresses they are invalid, and
// no descriptor has these numbers, so the calls fail whatever they are.
const (
	FirstMeasure  = 0x6b696e71
	SecondMeasure = 0x6b696e72
)

// Orders of the stops of one system call.
const (
	SeccompFirst = "seccomp-first"
	EnterFirst   = "enter-first"
)

// Events is what a tracer tells about the program that it was started for.
type Events interface {
	// Stopped: job control has stopped it with this signal.
	Stopped(signal unix.Signal)
	// Continued: job control has ended that.
	Continued()
	// Ended: it has ended. The tracer goes on with what it has left behind.
	Ended(status unix.WaitStatus)
}

// Tracer is one tracer: a single thread of the operating system, which all its methods must be called from.
type Tracer struct {
	rules    *rules.Set
	counters *statistics.Counters
	events   Events
	resolver *paths.Resolver

	main      int
	isStopped bool // main, by job control
	threads   map[int]*thread
	processes map[int]*process
	// generation rises with each call that may give a process another root directory. It begins at 1: a new thread's is 0.
	generation uint64
	lookup     func(int) int

	measured     bool
	measureStops int
	seccompFirst bool

	path   [paths.Limit]byte
	target rules.Target
	name   sockets.Name
}

// New seizes a process, which must have no traced call behind it. The calling goroutine must be locked to its thread.
func New(main int, set *rules.Set, counters *statistics.Counters, events Events) (*Tracer, error) {
	resolver, err := paths.NewResolver()
	if err != nil {
		return nil, fmt.Errorf("the root directory: %w", err)
	}
	if err := seize(main); err != nil {
		return nil, fmt.Errorf("PTRACE_SEIZE: %w", err)
	}
	tracer := &Tracer{
		rules: set, counters: counters, events: events, resolver: resolver,
		main: main, threads: map[int]*thread{}, processes: map[int]*process{}, generation: 1,
	}
	tracer.lookup = tracer.processOf
	tracer.find(main)
	return tracer, nil
}

// Run follows the tree until its last process has ended.
func (tracer *Tracer) Run() error {
	for {
		id, status, err := wait()
		if errors.Is(err, unix.ECHILD) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wait4: %w", err)
		}
		tracer.handle(id, status)
	}
}

func (tracer *Tracer) handle(id int, status unix.WaitStatus) {
	if !status.Stopped() {
		tracer.forget(id)
		if id == tracer.main {
			tracer.events.Ended(status)
			tracer.main = 0
		}
		return
	}
	stopped := tracer.find(id)
	signal, event := status.StopSignal(), int(status>>16)
	switch {
	case event == unix.PTRACE_EVENT_SECCOMP:
		tracer.seccompStop(stopped)
	case event == unix.PTRACE_EVENT_STOP:
		tracer.groupStop(stopped, signal)
	case event == unix.PTRACE_EVENT_EXEC:
		tracer.executed(id)
		tracer.proceed(stopped)
	case event != 0:
		// A new thread or process reports itself.
		tracer.proceed(stopped)
	case signal == syscallTrap:
		tracer.syscallStop(stopped)
	default:
		tracer.deliver(stopped, signal)
	}
}

// groupStop is a stop by job control, or the first stop of a new thread, or the end of a stop by job control.
func (tracer *Tracer) groupStop(stopped *thread, signal unix.Signal) {
	switch signal {
	case unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		// The thread stays stopped, and SIGCONT ends that.
		_ = request(unix.PTRACE_LISTEN, stopped.id, 0)
		if stopped.id == tracer.main {
			tracer.isStopped = true
			tracer.events.Stopped(signal)
		}
	default:
		if stopped.id == tracer.main && tracer.isStopped {
			tracer.isStopped = false
			tracer.events.Continued()
		}
		tracer.proceed(stopped)
	}
}

// deliver lets a signal through. What came with it (siginfo) stays as it is.
func (tracer *Tracer) deliver(stopped *thread, signal unix.Signal) {
	kind := unix.PTRACE_CONT
	if stopped.phase != running {
		kind = unix.PTRACE_SYSCALL
	}
	_ = request(kind, stopped.id, uintptr(signal))
}

// proceed lets a thread run on. That it is gone (ESRCH: SIGKILL, or another thread's execve) is normal, here and
// wherever a request's error is not looked at; its end is reported by wait.
func (tracer *Tracer) proceed(stopped *thread) {
	tracer.deliver(stopped, 0)
}

// proceedTo lets a thread run to the end of its call, where it has this phase.
func (tracer *Tracer) proceedTo(stopped *thread, phase phase) {
	stopped.phase = phase
	stopped.entering = tracer.seccompFirst
	_ = request(unix.PTRACE_SYSCALL, stopped.id, 0)
}

// syscallStop is the enter-stop or the exit-stop of a call that the tracer lets run with PTRACE_SYSCALL.
func (tracer *Tracer) syscallStop(stopped *thread) {
	switch {
	case stopped.phase == measuring:
		tracer.measure(stopped)
	case stopped.entering:
		stopped.entering = false
		_ = request(unix.PTRACE_SYSCALL, stopped.id, 0)
	case stopped.phase == mapping:
		tracer.endMapping(stopped)
	case stopped.phase == binding:
		tracer.endBinding(stopped)
	case stopped.phase == calling:
		tracer.endCall(stopped)
	default:
		tracer.proceed(stopped)
	}
}

// beginMeasure is for the stub's first traced call.
func (tracer *Tracer) beginMeasure(stopped *thread) {
	tracer.measured = true
	stopped.phase = measuring
	tracer.proceed(stopped)
}

// measure looks at the second syscall-stop after the first seccomp-stop. It is the exit of the first call where the
// seccomp-stop comes before the enter-stop, and the enter of the second one where it comes after.
func (tracer *Tracer) measure(stopped *thread) {
	if tracer.measureStops++; tracer.measureStops < 2 {
		tracer.proceed(stopped)
		return
	}
	var registers unix.PtraceRegs
	if err := getRegisters(stopped.id, &registers); err == nil {
		tracer.seccompFirst = registers.Rdi == FirstMeasure
		tracer.counters.Order = EnterFirst
		if tracer.seccompFirst {
			tracer.counters.Order = SeccompFirst
		}
	}
	stopped.phase = running
	tracer.proceed(stopped)
}
