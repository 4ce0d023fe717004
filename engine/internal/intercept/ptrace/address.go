//go:build linux && amd64

package ptrace

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kins/engine/internal/intercept/calls"
	"kins/engine/internal/intercept/memory"
	"kins/engine/internal/intercept/rules"
)

// lengthSize is that of socklen_t.
const lengthSize = 4

// beginAddress is for calls that name a socket's address or answer it. They concern every thread, whatever its root
// directory is.
func (tracer *Tracer) beginAddress(stopped *thread) {
	switch stopped.call.Kind {
	case calls.OwnName, calls.PeerName:
		tracer.beginName(stopped)
		return
	}
	address, is := tracer.readName(stopped)
	if !is {
		tracer.proceed(stopped)
		return
	}
	wanted, rule := tracer.wantedAddress(stopped.call, address)
	switch {
	case rule == rules.NoRule:
		tracer.proceed(stopped)
		return
	case stopped.call.Kind == calls.Reach && !stopped.hasSource:
		if source, needed := tracer.rules.Addresses.Source(wanted); needed {
			tracer.beginBinding(stopped, source)
			return
		}
	}
	stopped.onlySix = stopped.call.Kind == calls.Bind && tracer.name.IsOnlySix()
	if stopped.mappedRefused {
		tracer.name.SetLoopbackSix()
	} else {
		tracer.name.SetIPv4(wanted)
	}
	tracer.giveName(stopped, rule)
}

// readName reads the address of a call into tracer.name. False where it is none that rules can concern.
func (tracer *Tracer) readName(stopped *thread) (rules.IPv4, bool) {
	place := uintptr(*argument(&stopped.registers, stopped.call.Address))
	length := int32(*argument(&stopped.registers, stopped.call.Address+1))
	if place == 0 || length < lengthSize {
		return 0, false
	}
	if err := memory.Read(stopped.id, place, tracer.name.Buffer(int(length))); err != nil {
		// The kernel will say so itself.
		return 0, false
	}
	return tracer.name.Meant()
}

func (tracer *Tracer) wantedAddress(call *calls.Call, address rules.IPv4) (rules.IPv4, int) {
	if call.Kind == calls.Bind {
		return tracer.rules.Addresses.Bound(address, tracer.name.Port())
	}
	return tracer.rules.Addresses.Reached(address)
}

// giveName lets the call run with the address in tracer.name.
func (tracer *Tracer) giveName(stopped *thread, rule int) {
	changed := stopped.registers
	place, ok := tracer.putName(stopped)
	if !ok {
		return
	}
	*argument(&changed, stopped.call.Address) = place
	if err := setRegisters(stopped.id, &changed); err != nil {
		stopped.finish()
		return
	}
	tracer.counters.Match(rule)
	tracer.proceedTo(stopped, calling)
}

// putName puts tracer.name where the thread can give it to the kernel. Without success the thread runs on already: to an
// mmap, after which it comes here again, or with the address as it was.
func (tracer *Tracer) putName(stopped *thread) (uint64, bool) {
	if !tracer.takeSlot(stopped) {
		return 0, false
	}
	place, err := stopped.slot.PutStructure(stopped.id, tracer.name.Bytes())
	if err != nil {
		tracer.giveUp(stopped)
		return 0, false
	}
	return uint64(place), true
}

// beginBinding puts a bind to the source address in the place of the thread's call, which is then made again.
func (tracer *Tracer) beginBinding(stopped *thread, source rules.IPv4) {
	tracer.name.SetIPv4(source)
	tracer.name.SetPort(0)
	place, ok := tracer.putName(stopped)
	if !ok {
		return
	}
	changed := stopped.registers
	changed.Orig_rax, changed.Rax = unix.SYS_BIND, unix.SYS_BIND
	changed.Rsi, changed.Rdx = place, uint64(len(tracer.name.Bytes()))
	if err := setRegisters(stopped.id, &changed); err != nil {
		stopped.finish()
		return
	}
	tracer.proceedTo(stopped, binding)
}

// endBinding lets the thread make its own call again. That the bind was refused is normal: the socket has an address.
func (tracer *Tracer) endBinding(stopped *thread) {
	stopped.finish()
	stopped.hasSource = true
	tracer.repeat(stopped)
}

// endAddress is the end of a call whose address was changed or may be told otherwise. False where the thread has been sent
// to make its call again.
func (tracer *Tracer) endAddress(stopped *thread, result int64) bool {
	refused := stopped.onlySix && !stopped.mappedRefused && isRefusal(unix.Errno(-result))
	stopped.hasSource, stopped.onlySix, stopped.mappedRefused = false, false, refused
	if refused {
		// A socket for IPv6 alone takes no address of IPv4. Pods have no other: it gets one that nobody looks for.
		stopped.finish()
		tracer.repeat(stopped)
		return false
	}
	if result >= 0 && (stopped.call.Kind == calls.OwnName || stopped.call.Kind == calls.PeerName) {
		tracer.rewriteName(stopped)
	}
	return true
}

// isRefusal says whether a bind to an address of IPv4 failed because the socket is one for IPv6 alone: EINVAL says Linux,
// EHOSTUNREACH gVisor (pkg/tcpip/stack, AddrNetProtoLocked). Or because there is another socket for IPv4.
func isRefusal(number unix.Errno) bool {
	return number == unix.EINVAL || number == unix.EHOSTUNREACH || number == unix.EADDRINUSE
}

// beginName is for calls that answer an address: how much of it there is room for must be known before the kernel writes
// how much there is.
func (tracer *Tracer) beginName(stopped *thread) {
	room, ok := tracer.nameLength(stopped)
	if !ok {
		tracer.proceed(stopped)
		return
	}
	stopped.room = room
	tracer.proceedTo(stopped, calling)
}

// nameLength reads the length that the kernel is told and tells.
func (tracer *Tracer) nameLength(stopped *thread) (int, bool) {
	var length [lengthSize]byte
	place := uintptr(*argument(&stopped.registers, stopped.call.Address+1))
	if place == 0 || *argument(&stopped.registers, stopped.call.Address) == 0 {
		return 0, false
	}
	if err := memory.Read(stopped.id, place, length[:]); err != nil {
		return 0, false
	}
	return int(int32(binary.NativeEndian.Uint32(length[:]))), true
}

// rewriteName changes the address that the kernel has written.
func (tracer *Tracer) rewriteName(stopped *thread) {
	written, ok := tracer.nameLength(stopped)
	length := min(written, stopped.room)
	if !ok || length < lengthSize {
		return
	}
	place := uintptr(*argument(&stopped.registers, stopped.call.Address))
	if err := memory.Read(stopped.id, place, tracer.name.Buffer(length)); err != nil {
		return
	}
	address, offset, is := tracer.name.IPv4()
	if !is {
		return
	}
	told, rule := tracer.rules.Addresses.Told(address)
	if stopped.call.Kind == calls.PeerName {
		told, rule = tracer.rules.Addresses.ToldPeer(address)
	}
	if rule == rules.NoRule {
		return
	}
	var octets [4]byte
	binary.BigEndian.PutUint32(octets[:], uint32(told))
	tracer.count(rule, memory.Write(stopped.id, place+uintptr(offset), octets[:]))
}
