//go:build linux && amd64

package ptrace

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kins/engine/internal/intercept/calls"
	"kins/engine/internal/intercept/memory"
	"kins/engine/internal/intercept/paths"
	"kins/engine/internal/intercept/rules"
)

const (
	// releaseOffset and releaseSize are those of struct utsname (uname(2)).
	releaseOffset = 130
	releaseSize   = 65

	// howSize is that of the first struct open_how (openat2(2)): flags, mode, resolve.
	howSize     = 24
	howResolve  = 16
	confinement = unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_XDEV
)

// seccompStop is the begin of a call that the filter has caught; it has not run yet.
func (tracer *Tracer) seccompStop(stopped *thread) {
	if !tracer.measured {
		tracer.beginMeasure(stopped)
		return
	}
	if err := getRegisters(stopped.id, &stopped.registers); err != nil {
		return
	}
	call := calls.ByNumber[stopped.registers.Orig_rax%calls.Limit]
	if call == nil {
		tracer.proceed(stopped)
		return
	}
	tracer.counters.Stop(call.Number)
	stopped.call, stopped.statfs = call, none
	switch {
	case call.Kind == calls.Boundary:
		tracer.proceedTo(stopped, calling)
		return
	case call.NamesAddress():
		tracer.beginAddress(stopped)
		return
	case call.NamesIDs():
		tracer.beginIDs(stopped)
		return
	}
	if !tracer.isInside(stopped) {
		tracer.proceed(stopped)
		return
	}
	switch call.Kind {
	case calls.Uname:
		tracer.proceedTo(stopped, calling)
	case calls.Fstatfs:
		tracer.beginFstatfs(stopped)
	default:
		tracer.beginPath(stopped)
	}
}

// isInside says whether rules apply to a thread.
func (tracer *Tracer) isInside(stopped *thread) bool {
	if stopped.generation != tracer.generation {
		stopped.generation = tracer.generation
		stopped.inside = tracer.resolver.IsInside(stopped.id)
	}
	return stopped.inside
}

// beginPath is for calls that name a file: they run on unchanged, or with another path, or to an end that is rewritten.
func (tracer *Tracer) beginPath(stopped *thread) {
	named, ok := tracer.namedPath(stopped)
	if !ok {
		tracer.proceed(stopped)
		return
	}
	rule := tracer.redirection(stopped, named)
	if stopped.call.Kind == calls.Statfs {
		actual := named.Name
		if rule != nil {
			actual = tracer.target.Bytes()
		}
		tracer.chooseStatfs(stopped, named.Name, actual, func() (uint64, error) {
			return tracer.resolver.Device(stopped.id, actual)
		})
	}
	switch {
	case rule != nil:
		tracer.redirect(stopped, rule)
	case stopped.call.Kind == calls.Statfs && tracer.awaitsStatfs(stopped):
		tracer.proceedTo(stopped, calling)
	default:
		tracer.proceed(stopped)
	}
}

// namedPath reads and resolves the path of a call.
func (tracer *Tracer) namedPath(stopped *thread) (paths.Path, bool) {
	call, registers := stopped.call, &stopped.registers
	path, err := memory.ReadPath(stopped.id, uintptr(*argument(registers, call.Path)), &tracer.path)
	if err != nil {
		// The kernel will say so itself.
		return paths.Path{}, false
	}
	directory := int32(unix.AT_FDCWD)
	if call.Directory != calls.None {
		directory = int32(*argument(registers, call.Directory))
	}
	if call.How != calls.None && len(path) > 0 && path[0] == '/' && tracer.resolveFlags(stopped)&unix.RESOLVE_IN_ROOT != 0 {
		// `/` means the directory there.
		path = path[1:]
	}
	return tracer.resolver.Resolve(stopped.id, directory, path)
}

// resolveFlags reads how->resolve of openat2; 0 where it cannot be read.
func (tracer *Tracer) resolveFlags(stopped *thread) uint64 {
	var resolve [8]byte
	address := uintptr(*argument(&stopped.registers, stopped.call.How)) + howResolve
	if err := memory.Read(stopped.id, address, resolve[:]); err != nil {
		return 0
	}
	return binary.LittleEndian.Uint64(resolve[:])
}

// redirection returns the first rule that matches, with its result in tracer.target; nil where there is none.
func (tracer *Tracer) redirection(stopped *thread, named paths.Path) *rules.Redirection {
	for index := range tracer.rules.Redirects {
		rule := &tracer.rules.Redirects[index]
		if !rule.Match(named.Name, stopped.process.pid, tracer.lookup, &tracer.target) {
			continue
		}
		if !tracer.resolver.IsTrue(stopped.id, named) {
			return nil
		}
		if rule.OnlyExisting && !paths.Overlays(named.Name, tracer.target.Terminated()) {
			continue
		}
		return rule
	}
	return nil
}

// redirect lets the call run with the path in tracer.target. The first time in a process the call gives way to an mmap
// and is then made again.
func (tracer *Tracer) redirect(stopped *thread, rule *rules.Redirection) {
	if !tracer.takeSlot(stopped) {
		return
	}
	changed := stopped.registers
	address, err := stopped.slot.PutPath(stopped.id, tracer.target.Terminated())
	*argument(&changed, stopped.call.Path) = uint64(address)
	if err == nil && stopped.call.How != calls.None {
		err = tracer.releaseConfinement(stopped, &changed)
	}
	if err == nil {
		err = setRegisters(stopped.id, &changed)
	}
	if err != nil {
		tracer.giveUp(stopped)
		return
	}
	tracer.counters.Match(rule.Index)
	tracer.proceedTo(stopped, calling)
}

// releaseConfinement gives openat2 a copy of its struct open_how that lets it reach the target: with the flags that
// confine it to a directory or a mount no absolute path can be opened.
func (tracer *Tracer) releaseConfinement(stopped *thread, changed *unix.PtraceRegs) error {
	place := argument(changed, stopped.call.How)
	var how [howSize]byte
	if err := memory.Read(stopped.id, uintptr(*place), how[:]); err != nil {
		return err
	}
	resolve := binary.LittleEndian.Uint64(how[howResolve:])
	if resolve&confinement == 0 {
		return nil
	}
	binary.LittleEndian.PutUint64(how[howResolve:], resolve&^confinement)
	address, err := stopped.slot.PutStructure(stopped.id, how[:])
	*place = uint64(address)
	*argument(changed, stopped.call.How+1) = howSize
	return err
}

// repeat lets the thread make its call again, as it made it the first time.
func (tracer *Tracer) repeat(stopped *thread) {
	again := stopped.registers
	again.Rip -= syscallLength
	again.Rax = again.Orig_rax
	tracer.resume(stopped, &again)
}

// resume lets the thread run on with these registers. At the begin of a call that means: without it (seccomp(2)).
func (tracer *Tracer) resume(stopped *thread, registers *unix.PtraceRegs) {
	// Else the kernel might take the result for that of an interrupted call.
	registers.Orig_rax = ^uint64(0)
	_ = setRegisters(stopped.id, registers)
	tracer.proceed(stopped)
}

// beginFstatfs is for a file system asked by a descriptor.
func (tracer *Tracer) beginFstatfs(stopped *thread) {
	descriptor := int32(*argument(&stopped.registers, stopped.call.Directory))
	name, ok := tracer.resolver.Descriptor(stopped.id, descriptor)
	if !ok {
		name = nil
	}
	tracer.chooseStatfs(stopped, name, nil, func() (uint64, error) {
		return tracer.resolver.DescriptorDevice(stopped.id, descriptor)
	})
	if tracer.awaitsStatfs(stopped) {
		tracer.proceedTo(stopped, calling)
		return
	}
	tracer.proceed(stopped)
}

// chooseStatfs finds the first rule that holds for a file by its name, by that of its target (each may be unknown) or by
// its device.
func (tracer *Tracer) chooseStatfs(stopped *thread, name, target []byte, device func() (uint64, error)) {
	for index := range tracer.rules.Statfs {
		rule := &tracer.rules.Statfs[index]
		if rule.Below(name) || rule.Below(target) || tracer.isMountedAt(stopped, rule, device) {
			stopped.statfs = index
			return
		}
	}
}

// isMountedAt says whether a device is that of the file system at the rule's mount point, now.
func (tracer *Tracer) isMountedAt(stopped *thread, rule *rules.Type, device func() (uint64, error)) bool {
	if rule.Mount == "" {
		return false
	}
	file, err := device()
	if err != nil {
		return false
	}
	mounted, err := tracer.resolver.Device(stopped.id, rule.MountPoint)
	return err == nil && mounted == file
}

// awaitsStatfs says whether the answer of the kernel must be seen.
func (tracer *Tracer) awaitsStatfs(stopped *thread) bool {
	return stopped.statfs != none || tracer.rules.ByType
}

// endCall is the end of a call that was changed or whose answer may be rewritten.
func (tracer *Tracer) endCall(stopped *thread) {
	var now unix.PtraceRegs
	if err := getRegisters(stopped.id, &now); err != nil {
		stopped.finish()
		return
	}
	if stopped.slot.Taken() || stopped.call.Kind == calls.Chown {
		tracer.restore(stopped, &now)
	}
	if stopped.call.NamesAddress() && !tracer.endAddress(stopped, int64(now.Rax)) {
		return
	}
	if now.Rax == 0 {
		tracer.rewriteAnswer(stopped)
		tracer.countIDs(stopped)
	}
	if stopped.call.Kind == calls.Boundary {
		tracer.generation++
	}
	stopped.finish()
	tracer.proceed(stopped)
}

// restore gives back the registers of the arguments: compilers rely on them after a call, and a call that a signal has
// interrupted is made again with them.
func (tracer *Tracer) restore(stopped *thread, now *unix.PtraceRegs) {
	for position := range arguments {
		*argument(now, position) = *argument(&stopped.registers, position)
	}
	_ = setRegisters(stopped.id, now)
}

// rewriteAnswer changes what the kernel has written into the caller's buffer.
func (tracer *Tracer) rewriteAnswer(stopped *thread) {
	if stopped.call.Answer == calls.None {
		return
	}
	address := uintptr(*argument(&stopped.registers, stopped.call.Answer))
	switch stopped.call.Kind {
	case calls.Uname:
		tracer.rewriteRelease(stopped, address)
	case calls.Statfs, calls.Fstatfs:
		tracer.rewriteType(stopped, address)
	}
}

func (tracer *Tracer) rewriteRelease(stopped *thread, address uintptr) {
	var release [releaseSize]byte
	copy(release[:], tracer.rules.Release.Name)
	tracer.count(tracer.rules.Release.Index, memory.Write(stopped.id, address+releaseOffset, release[:]))
}

// rewriteType changes f_type, the first eight bytes of struct statfs (statfs(2)).
func (tracer *Tracer) rewriteType(stopped *thread, address uintptr) {
	var word [8]byte
	if tracer.rules.ByType {
		if err := memory.Read(stopped.id, address, word[:]); err != nil {
			return
		}
	}
	rule := tracer.rules.TypeRule(int64(binary.LittleEndian.Uint64(word[:])), stopped.statfs)
	if rule == nil {
		return
	}
	binary.LittleEndian.PutUint64(word[:], uint64(rule.Type))
	tracer.count(rule.Index, memory.Write(stopped.id, address, word[:]))
}

// count notes a rewritten answer.
func (tracer *Tracer) count(rule int, err error) {
	if err != nil {
		tracer.counters.Failure()
		return
	}
	tracer.counters.Match(rule)
}
