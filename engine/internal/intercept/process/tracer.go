//go:build linux && amd64

package process

import (
	"errors"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"kins/engine/internal/intercept/notify"
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
	stops    atomic.Uint32 // how often the program was stopped
	echo     atomic.Bool   // the front got SIGCONT from us since the latest stop
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
	backend := choose(options.Backend, set)
	tracer.counters.Backend = backend
	stub, err := startStub(backend, set, options.Command)
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
	if backend == Notify {
		go tracer.supervise(stub, set)
	}
	err = followed.Run()
	tracer.writeStatistics()
	return err
}

// choose gives the backend that is meant by auto: ptrace, which is the faster one wherever both were measured, and can do
// all that rules ask for. Without a rule there is no call to answer either way.
func choose(backend string, set *rules.Set) string {
	if backend == Automatic || set.Rules == 0 {
		return Ptrace
	}
	return backend
}

// supervise answers calls by notify. The tree is followed by ptrace all the same, without a stop at any call: that is
// how it ends with the tracer.
func (tracer *tracer) supervise(stub *stub, set *rules.Set) {
	listener, err := stub.listener()
	if err == nil {
		err = notify.Supervise(listener, set, tracer.counters)
	}
	if !tracer.hasEnded.Load() {
		_ = tracer.front.send(message{failed, StatusFailed, err.Error()})
		os.Exit(StatusFailed)
	}
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
		number, stops := unix.Signal(received.number&(1<<signalBits-1)), received.number>>signalBits
		if number == unix.SIGCONT && tracer.isEcho(stops) {
			continue
		}
		if program := tracer.program.Load(); received.kind == signalled && program > 0 {
			_ = unix.Kill(int(program), number)
		}
	}
	if !tracer.hasEnded.Load() {
		os.Exit(StatusFailed)
	}
}

// isEcho says whether the front passes on a SIGCONT that it has from us, or one of before the latest stop: the program
// goes on already, and if it was stopped again meanwhile, this would undo that.
func (tracer *tracer) isEcho(stops uint32) bool {
	return stops != tracer.stops.Load()&(1<<(32-signalBits)-1) || tracer.echo.Swap(false)
}

// Stopped implements ptrace.Events.
func (tracer *tracer) Stopped(number unix.Signal) {
	tracer.echo.Store(false)
	tracer.stops.Add(1)
	_ = tracer.front.send(message{kind: stopped, number: uint32(number)})
}

// Continued implements ptrace.Events. The front stands still too, and whoever has continued the program may not know it.
func (tracer *tracer) Continued() {
	if !tracer.hasEnded.Load() {
		tracer.echo.Store(true)
		_ = unix.Kill(os.Getppid(), unix.SIGCONT)
	}
}

// Ended implements ptrace.Events.
func (tracer *tracer) Ended(status unix.WaitStatus) {
	tracer.program.Store(0)
	tracer.hasEnded.Store(true)
	_ = tracer.front.send(message{kind: ended, number: uint32(status)})
}
