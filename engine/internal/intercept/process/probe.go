//go:build linux && amd64

package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"kins/engine/internal/intercept/notify"
	"kins/engine/internal/intercept/ptrace"
	"kins/engine/internal/intercept/rules"
	"kins/engine/internal/intercept/statistics"
)

const (
	// ProbeArgument asks for the probe, and AnswerArgument is its tracee: a program that says which release it sees.
	ProbeArgument  = "probe"
	AnswerArgument = "answer"

	probeRelease = "kins-probe"

	// probeLimit is how long one answer may take: some sandboxes refuse by never returning.
	probeLimit = time.Second
)

// probed is what the probe prints.
type probed struct {
	Architecture        bool              `json:"architecture"`
	Ptrace              bool              `json:"ptrace"`
	SeccompTrace        bool              `json:"seccomp_trace"`
	Order               string            `json:"order"`
	Notify              bool              `json:"notify"`
	NotifyAddDescriptor bool              `json:"notify_add_descriptor"`
	Causes              map[string]string `json:"causes"`
}

// Probe prints as JSON what this kernel offers. Each answer is found by doing the thing.
func Probe() int {
	found := probed{Architecture: true, Causes: map[string]string{}}
	if err := within(func() error {
		answer, descriptor := notify.Probe()
		found.Notify, found.NotifyAddDescriptor = found.note("notify", answer), found.note("notify_add_descriptor", descriptor)
		return nil
	}); err != nil {
		found = probed{Architecture: true, Causes: map[string]string{
			"notify": err.Error(), "notify_add_descriptor": err.Error(),
		}}
	}
	traced := newTrace()
	err := within(traced.run)
	found.Ptrace = found.note("ptrace", traced.seized(err))
	found.SeccompTrace = found.note("seccomp_trace", err)
	if err == nil {
		found.Order = traced.counters.Order
	}
	content, err := json.Marshal(found)
	if err != nil {
		return complain(StatusFailed, err)
	}
	fmt.Println(string(content))
	return 0
}

// note keeps the cause of an answer that is no.
func (found *probed) note(name string, err error) bool {
	if err != nil {
		found.Causes[name] = err.Error()
	}
	return err == nil
}

// within runs one measurement on a thread of its own, and gives up on it after a while.
func within(measurement func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- measurement()
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(probeLimit):
		return fmt.Errorf("no answer within %v", probeLimit)
	}
}

// trace is the measurement of ptrace: a process that sees another release.
type trace struct {
	counters *statistics.Counters
	hasSeize bool
	status   unix.WaitStatus
}

func newTrace() *trace {
	return &trace{counters: statistics.New(1)}
}

// seized is the error of the measurement as far as PTRACE_SEIZE is concerned.
func (trace *trace) seized(err error) error {
	if trace.hasSeize {
		return nil
	}
	return err
}

func (trace *trace) run() error {
	set := rules.ForRelease(probeRelease)
	stub, err := startStub(Ptrace, set, []string{self, AnswerArgument})
	if err != nil {
		return err
	}
	followed, err := ptrace.New(stub.pid, set, trace.counters, trace)
	if err != nil {
		return errors.Join(err, unix.Kill(stub.pid, unix.SIGKILL))
	}
	trace.hasSeize = true
	if err := stub.release(); err != nil {
		return err
	}
	if err := followed.Run(); err != nil {
		return err
	}
	if !trace.status.Exited() || trace.status.ExitStatus() != 0 {
		return fmt.Errorf("the call was not caught (wait status %#x)", uint32(trace.status))
	}
	return nil
}

// Stopped implements ptrace.Events.
func (trace *trace) Stopped(unix.Signal) {}

// Continued implements ptrace.Events.
func (trace *trace) Continued() {}

// Ended implements ptrace.Events.
func (trace *trace) Ended(status unix.WaitStatus) {
	trace.status = status
}

// Answer is the main function of the probe's tracee.
func Answer() int {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil || unix.ByteSliceToString(name.Release[:]) != probeRelease {
		return 1
	}
	return 0
}
