//go:build linux && amd64

package ptrace

import (
	"golang.org/x/sys/unix"

	"kins/engine/internal/intercept/calls"
	"kins/engine/internal/intercept/memory"
	"kins/engine/internal/intercept/rules"
)

// unchanged is the id that chown(2) leaves as it is.
const unchanged = ^uint64(0)

// beginIDs is for calls that name ids of users or groups, in a place that has one of each. They concern every thread,
// whatever its root directory is.
func (tracer *Tracer) beginIDs(stopped *thread) {
	switch stopped.call.Kind {
	case calls.Chown:
		tracer.beginChown(stopped)
	case calls.SetID:
		tracer.pretend(stopped)
	case calls.Mount:
		tracer.beginMount(stopped)
	case calls.MountOption:
		tracer.beginMountOption(stopped)
	}
}

// pretend tells a thread that its call succeeded, which is not made. What setfsuid(2) answers is the id before: 0 too.
func (tracer *Tracer) pretend(stopped *thread) {
	tracer.counters.Match(tracer.rules.OneID)
	answered := stopped.registers
	answered.Rax = 0
	tracer.resume(stopped, &answered)
}

// beginChown lets the call run without its ids: whether there is such a file, and whether it can be changed, the kernel
// says itself.
func (tracer *Tracer) beginChown(stopped *thread) {
	changed := stopped.registers
	*argument(&changed, stopped.call.IDs) = unchanged
	*argument(&changed, stopped.call.IDs+1) = unchanged
	if err := setRegisters(stopped.id, &changed); err != nil {
		return
	}
	tracer.proceedTo(stopped, calling)
}

// countIDs is for the end of a call with other ids that has succeeded.
func (tracer *Tracer) countIDs(stopped *thread) {
	if stopped.call.NamesIDs() {
		tracer.counters.Match(tracer.rules.OneID)
	}
}

// beginMount lets the call run without the options that name another id.
func (tracer *Tracer) beginMount(stopped *thread) {
	options, ok := tracer.text(stopped, stopped.call.IDs)
	kept, found := rules.WithoutIDs(options)
	if !ok || !found {
		tracer.proceed(stopped)
		return
	}
	if !tracer.takeSlot(stopped) {
		return
	}
	// What was taken out has left room for it.
	terminated := append(kept, 0)
	changed := stopped.registers
	address, err := stopped.slot.PutPath(stopped.id, terminated)
	*argument(&changed, stopped.call.IDs) = uint64(address)
	if err == nil {
		err = setRegisters(stopped.id, &changed)
	}
	if err != nil {
		tracer.giveUp(stopped)
		return
	}
	tracer.proceedTo(stopped, calling)
}

// beginMountOption leaves out an option that names another id.
func (tracer *Tracer) beginMountOption(stopped *thread) {
	const command = 1
	isText := uint32(*argument(&stopped.registers, command)) == unix.FSCONFIG_SET_STRING
	if isText && tracer.names(stopped, stopped.call.IDs, rules.IsID) && tracer.names(stopped, stopped.call.IDs+1, rules.IsOtherID) {
		tracer.pretend(stopped)
		return
	}
	tracer.proceed(stopped)
}

// names says whether an argument is a text of which this holds.
func (tracer *Tracer) names(stopped *thread, position int, holds func([]byte) bool) bool {
	text, ok := tracer.text(stopped, position)
	return ok && holds(text)
}

// text reads an argument that is a C string of up to a page into tracer.path. False where it is none: the kernel will say
// so itself.
func (tracer *Tracer) text(stopped *thread, position int) ([]byte, bool) {
	text, err := memory.ReadPath(stopped.id, uintptr(*argument(&stopped.registers, position)), &tracer.path)
	return text, err == nil
}
