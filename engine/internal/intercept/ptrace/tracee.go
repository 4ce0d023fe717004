//go:build linux && amd64

package ptrace

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"kins/engine/internal/intercept/calls"
	"kins/engine/internal/intercept/memory"
)

// phase is what the tracer expects of a thread.
type phase uint8

const (
	// running: nothing; the next stop is a new event.
	running phase = iota
	// measuring: the two calls by which the stub shows the kernel's order of stops.
	measuring
	// mapping: the end of an mmap that the tracer has put in the place of the thread's own call.
	mapping
	// binding: the end of a bind that the tracer has put in the place of the thread's own call.
	binding
	// calling: the end of the thread's call, of which something must be changed back or rewritten.
	calling
)

// process is what the threads of a thread group share.
type process struct {
	pid     int
	parent  int
	threads int
	space   memory.Space
}

// thread is a tracee.
type thread struct {
	id      int
	process *process
	phase   phase
	// entering: the next syscall-stop is the enter-stop, which only kernels with seccomp first have after a seccomp-stop.
	entering bool
	// inside says whether the thread had the tracer's root directory when the tracer's generation was this one. Not of
	// the process: a thread may have a root of its own (CLONE_FS).
	inside     bool
	generation uint64

	// What follows belongs to the call under way.
	call      *calls.Call
	registers unix.PtraceRegs // as the thread made the call
	slot      memory.Slot
	statfs    int // the rule that the named path or device chose, or none
	room      int // how long an answered address may be

	// What follows holds from a call to the same one made again.
	hasSource     bool // the socket was bound to the source address before
	onlySix       bool // the address to bind to was one of IPv6 alone
	mappedRefused bool // the socket takes no address of IPv4
}

// none is no rule.
const none = -1

// finish forgets the call under way.
func (thread *thread) finish() {
	thread.phase = running
	thread.entering = false
	thread.slot.Release()
}

// find returns the record of a thread, which is made at its first stop: that may come before its parent's clone event,
// whose number is useless anyway where gVisor counts in the pid namespace of the parent.
func (tracer *Tracer) find(id int) *thread {
	if known, ok := tracer.threads[id]; ok {
		return known
	}
	group, parent := family(id)
	if group == 0 {
		group = id
	}
	owner, ok := tracer.processes[group]
	if !ok {
		owner = &process{pid: group, parent: parent}
		if maker, ok := tracer.processes[parent]; ok {
			owner.space = maker.space.Inherit()
		}
		tracer.processes[group] = owner
	}
	owner.threads++
	added := &thread{id: id, process: owner}
	tracer.threads[id] = added
	tracer.counters.Tracees(len(tracer.threads))
	return added
}

// forget drops a thread that has ended, and its process with the last one.
func (tracer *Tracer) forget(id int) {
	ended, ok := tracer.threads[id]
	if !ok {
		return
	}
	ended.finish()
	delete(tracer.threads, id)
	tracer.counters.Tracees(len(tracer.threads))
	if ended.process.threads--; ended.process.threads == 0 {
		tracer.leaveMemory(ended.process)
		delete(tracer.processes, ended.process.pid)
	}
}

// executed is for a new program: its memory is new, its other threads are gone, and the thread that called execve has
// the number of the process now, whichever it had.
func (tracer *Tracer) executed(id int) {
	leader := tracer.find(id)
	leader.finish()
	tracer.leaveMemory(leader.process)
	if leader.process.threads == 1 {
		return
	}
	for other, record := range tracer.threads {
		if record.process == leader.process && other != id {
			tracer.forget(other)
		}
	}
}

// leaveMemory is for a process that ends or gets new memory.
func (tracer *Tracer) leaveMemory(process *process) {
	if parent, ok := tracer.processes[process.parent]; ok && process.space.HasMapped() {
		process.space.HandOver(&parent.space, parent.pid)
	}
	process.space = memory.Space{}
}

// processOf gives the process that a thread's or a process's number means.
func (tracer *Tracer) processOf(number int) int {
	if known, ok := tracer.threads[number]; ok {
		return known.process.pid
	}
	return number
}

// family reads the numbers of a thread's process and of its parent, in the tracer's pid namespace; 0 where it is gone.
func family(id int) (group, parent int) {
	content, err := os.ReadFile("/proc/" + strconv.Itoa(id) + "/status")
	if err != nil {
		return 0, 0
	}
	return field(content, "\nTgid:"), field(content, "\nPPid:")
}

// field reads a number out of /proc/PID/status (proc_pid_status(5)).
func field(content []byte, name string) int {
	_, rest, _ := bytes.Cut(content, []byte(name))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	number, err := strconv.Atoi(string(bytes.TrimSpace(line)))
	if err != nil {
		return 0
	}
	return number
}
