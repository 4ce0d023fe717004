//go:build linux && amd64

package process

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"kins/engine/internal/intercept/calls"
	"kins/engine/internal/intercept/ptrace"
	"kins/engine/internal/intercept/rules"
	"kins/engine/internal/intercept/statistics"
)

// tracer is the second process.
type tracer struct {
	front    control
	options  Options
	counters *statistics.Counters
	program  atomic.Int64 // its pid while it lives
	hasEnded atomic.Bool
}

// Tracer is the main function of the second process: arguments are the control socket's descriptor and the options.
func Tracer(arguments []string) int {
	// All requests of ptrace(2) must come from the thread that has seized the process.
	runtime.LockOSThread()
	descriptor, err := strconv.Atoi(arguments[0])
	if err != nil {
		return StatusUsage
	}
	unix.CloseOnExec(descriptor)
	streams := inherited()
	tracer := &tracer{front: control(descriptor)}
	if err := tracer.start(arguments[1:], streams); err != nil {
		_ = tracer.front.send(message{failed, StatusFailed, err.Error()})
		return StatusFailed
	}
	return 0
}

// start begins the interception and follows it to the end.
func (tracer *tracer) start(arguments []string, streams []int) error {
	options, err := ParseOptions(arguments)
	if err != nil {
		return err
	}
	tracer.options = options
	set, err := rules.Read(options.Rules)
	if err != nil {
		return err
	}
	keepFromProgram(options.Rules)
	tracer.counters = statistics.New(set.Rules)
	tracer.counters.Backend = Ptrace
	stub, err := startStub(calls.Needed(set.Needs()), options.Command)
	if err != nil {
		return err
	}
	tracer.program.Store(int64(stub.pid))
	letGo(streams)
	tracer.handleSignals()
	go tracer.obey()
	followed, err := ptrace.New(stub.pid, set, tracer.counters, tracer)
	if err != nil {
		return err
	}
	if err := errors.Join(tracer.front.send(message{kind: started}), stub.release()); err != nil {
		return err
	}
	err = followed.Run()
	tracer.writeStatistics()
	return err
}

// handleSignals is for after the stub's start: what is ignored here would be ignored there. Nothing but its own end or
// that of the front ends the tracer, or a terminal's keys would end what has long left the terminal.
func (tracer *tracer) handleSignals() {
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR2, unix.SIGALRM, unix.SIGPIPE,
		unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGWINCH)
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGUSR1)
	go func() {
		for range asked {
			tracer.writeStatistics()
		}
	}()
}

func (tracer *tracer) writeStatistics() {
	if tracer.options.Statistics != "" {
		// There is nobody to tell: the standard error was let go.
		_ = tracer.counters.Write(tracer.options.Statistics)
	}
}

// obey sends the program the signals that the front has got, and ends everything when the front was killed.
func (tracer *tracer) obey() {
	for {
		received, err := tracer.front.receive()
		if err != nil {
			break
		}
		if program := tracer.program.Load(); received.kind == signalled && program > 0 {
			_ = unix.Kill(int(program), unix.Signal(received.number))
		}
	}
	if !tracer.hasEnded.Load() {
		os.Exit(StatusFailed)
	}
}

// Stopped implements ptrace.Events.
func (tracer *tracer) Stopped(number unix.Signal) {
	_ = tracer.front.send(message{kind: stopped, number: uint32(number)})
}

// Ended implements ptrace.Events.
func (tracer *tracer) Ended(status unix.WaitStatus) {
	tracer.program.Store(0)
	tracer.hasEnded.Store(true)
	_ = tracer.front.send(message{kind: ended, number: uint32(status)})
}

// stub is the third process, before it becomes the program.
type stub struct {
	pid  int
	gate int // the write end of the pipe that it waits for
}

// startStub starts a process that will install a filter for these calls and then become the command.
func startStub(numbers []int, command []string) (*stub, error) {
	var gate [2]int
	if err := unix.Pipe2(gate[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("pipe2: %w", err)
	}
	defer unix.Close(gate[0])
	theirs, err := unix.Dup(gate[0])
	if err != nil {
		return nil, fmt.Errorf("dup: %w", err)
	}
	defer unix.Close(theirs)
	arguments := append([]string{"kins-intercept", StubArgument, strconv.Itoa(theirs), join(numbers)}, command...)
	pid, err := start(arguments)
	if err != nil {
		return nil, fmt.Errorf("the stub: %w", err)
	}
	return &stub{pid, gate[1]}, nil
}

// release lets the stub go on.
func (stub *stub) release() error {
	defer unix.Close(stub.gate)
	_, err := unix.Write(stub.gate, []byte{1})
	return err
}

// join writes numbers as the stub reads them.
func join(numbers []int) string {
	texts := make([]string, len(numbers))
	for index, number := range numbers {
		texts[index] = strconv.Itoa(number)
	}
	return strings.Join(texts, ",")
}
