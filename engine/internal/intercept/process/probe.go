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

	// probeLimit is how long an answer may take: some sandboxes refuse by never returning.
	probeLimit = 2 * time.Second
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
	asked, traced := within(askNotify), within(runTrace)
	found := probed{Architecture: true, Causes: map[string]string{}}
	notified := await(asked, func(late error) notified { return notified{late, late} })
	found.Notify = found.note("notify", notified.answer)
	found.NotifyAddDescriptor = found.note("notify_add_descriptor", notified.descriptor)
	trace := await(traced, func(late error) trace { return trace{seize: late, catch: late} })
	found.Ptrace = found.note("ptrace", trace.seize)
	found.SeccompTrace = found.note("seccomp_trace", trace.catch)
	found.Order = trace.order
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

// within starts a measurement on a thread of its own.
func within[Result any](measurement func() Result) <-chan Result {
	done := make(chan Result, 1)
	go func() {
		runtime.LockOSThread()
		done <- measurement()
	}()
	return done
}

// await gives up on a measurement after a while.
func await[Result any](done <-chan Result, late func(error) Result) Result {
	select {
	case result := <-done:
		return result
	case <-time.After(probeLimit):
		return late(fmt.Errorf("no answer within %v", probeLimit))
	}
}

// notified says why calls cannot be answered by a supervisor, and why not with a descriptor.
type notified struct {
	answer, descriptor error
}

func askNotify() notified {
	answer, descriptor := notify.Probe()
	return notified{answer, descriptor}
}

// trace says why no process can be traced, and why no call caught; with neither, in which order stops come.
type trace struct {
	seize, catch error
	order        string
}

// runTrace traces a process that must see another release.
func runTrace() trace {
	set := rules.ForRelease(probeRelease)
	stub, err := startStub(Ptrace, set, []string{self, AnswerArgument})
	if err != nil {
		return trace{seize: err, catch: err}
	}
	counters, end := statistics.New(set.Rules), &ending{}
	followed, err := ptrace.New(stub.pid, set, counters, end)
	if err != nil {
		err = errors.Join(err, unix.Kill(stub.pid, unix.SIGKILL))
		return trace{seize: err, catch: err}
	}
	if err := errors.Join(stub.release(), followed.Run()); err != nil {
		return trace{catch: err}
	}
	if !end.status.Exited() || end.status.ExitStatus() != 0 {
		return trace{catch: fmt.Errorf("the call was not caught (wait status %#x)", uint32(end.status))}
	}
	return trace{order: counters.Order}
}

// ending is what the probe wants to know of its tracee.
type ending struct {
	status unix.WaitStatus
}

// Stopped implements ptrace.Events.
func (*ending) Stopped(unix.Signal) {}

// Continued implements ptrace.Events.
func (*ending) Continued() {}

// Ended implements ptrace.Events.
func (ending *ending) Ended(status unix.WaitStatus) {
	ending.status = status
}

// Answer is the main function of the probe's tracee.
func Answer() int {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil || unix.ByteSliceToString(name.Release[:]) != probeRelease {
		return 1
	}
	return 0
}
