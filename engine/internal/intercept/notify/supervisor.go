//go:build linux && amd64

package notify

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"kins/engine/internal/intercept/calls"
	"kins/engine/internal/intercept/memory"
	"kins/engine/internal/intercept/paths"
	"kins/engine/internal/intercept/rules"
	"kins/engine/internal/intercept/statistics"
)

// Supervisor answers the calls of one tree of programs. It is one thread of the operating system, which takes on the
// credentials of a caller while it does something in its place.
type Supervisor struct {
	listener listener
	rules    *rules.Set
	counters *statistics.Counters
	resolver *paths.Resolver
	credentials
	path   [paths.Limit]byte
	target rules.Target
}

// Needed leaves out of the calls that rules need those that cannot be answered by somebody else: a program, a working
// directory and a root directory are the caller's own.
func Needed(numbers []int) []int {
	var answered []int
	for _, number := range numbers {
		switch {
		case number == unix.SYS_EXECVE, number == unix.SYS_EXECVEAT, number == unix.SYS_CHDIR:
		case calls.ByNumber[number].Kind == calls.Boundary:
		default:
			answered = append(answered, number)
		}
	}
	return answered
}

// Supervise answers what comes from a filter's listener, until that is closed. It runs on a thread of its own.
func Supervise(descriptor int, set *rules.Set, counters *statistics.Counters) error {
	// Never unlocked: the thread has credentials and a umask of its own.
	runtime.LockOSThread()
	resolver, err := paths.NewResolver()
	if err != nil {
		return fmt.Errorf("the root directory: %w", err)
	}
	listener(descriptor).wakeTogether()
	supervisor := &Supervisor{listener: listener(descriptor), rules: set, counters: counters, resolver: resolver}
	if err := supervisor.prepare(); err != nil {
		return err
	}
	for {
		var asked notification
		err := supervisor.listener.receive(&asked)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOENT):
			// The caller is gone before its call was read.
		case err != nil:
			return fmt.Errorf("SECCOMP_IOCTL_NOTIF_RECV: %w", err)
		default:
			supervisor.handle(&asked)
		}
	}
}

// result is what the supervisor has found out for a call.
type result struct {
	value int64
	err   error
	// letThrough: the kernel shall do the call itself.
	letThrough bool
	// answered: there is nothing left to send.
	answered bool
}

var through = result{letThrough: true}

func failure(err error) result {
	return result{err: err}
}

// handle answers one call.
func (supervisor *Supervisor) handle(asked *notification) {
	call := calls.ByNumber[asked.number]
	supervisor.counters.Stop(call.Number)
	found := supervisor.answer(asked, call)
	if found.answered {
		return
	}
	answer := response{id: asked.id, value: found.value}
	if found.letThrough {
		answer = response{id: asked.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	}
	var number unix.Errno
	if errors.As(found.err, &number) {
		answer.value, answer.err = 0, -int32(number)
	}
	// ENOENT: the caller was killed.
	_ = supervisor.listener.send(&answer)
}

// answer does a call in the caller's place where a rule wants that.
func (supervisor *Supervisor) answer(asked *notification, call *calls.Call) result {
	thread := int(asked.thread)
	if thread == 0 || !supervisor.resolver.IsInside(thread) {
		return through
	}
	switch call.Kind {
	case calls.Uname:
		return supervisor.uname(asked)
	case calls.Fstatfs:
		return supervisor.fstatfs(asked)
	}
	path, err := memory.ReadPath(thread, uintptr(asked.args[call.Path]), &supervisor.path)
	if err != nil {
		return through
	}
	rule, named := supervisor.redirection(asked, call, path)
	switch {
	// The number may be another thread's by now, and then this was another's path.
	case !supervisor.listener.isValid(asked.id):
		return result{answered: true}
	case call.Kind == calls.Statfs:
		return supervisor.statfs(asked, rule, path, named)
	case rule == nil:
		return through
	}
	supervisor.counters.Match(rule.Index)
	return supervisor.perform(asked)
}

// redirection is the first rule that matches the path of a call, with its result in supervisor.target.
func (supervisor *Supervisor) redirection(asked *notification, call *calls.Call, path []byte) (*rules.Redirection, []byte) {
	thread := int(asked.thread)
	directory := int32(unix.AT_FDCWD)
	if call.Directory != calls.None {
		directory = int32(asked.args[call.Directory])
	}
	named, ok := supervisor.resolver.Resolve(thread, directory, path)
	if !ok {
		return nil, nil
	}
	for index := range supervisor.rules.Redirects {
		rule := &supervisor.rules.Redirects[index]
		group := func(number int) int { return groupOf(number) }
		if !rule.Match(named.Name, groupOf(thread), group, &supervisor.target) {
			continue
		}
		if !supervisor.resolver.IsTrue(thread, named) {
			return nil, named.Name
		}
		if rule.OnlyExisting && !paths.Overlays(named.Name, supervisor.target.Terminated()) {
			continue
		}
		return rule, named.Name
	}
	return nil, named.Name
}
