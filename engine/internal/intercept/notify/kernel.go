//go:build linux && amd64

// Package notify intercepts system calls with a seccomp filter that asks a supervisor (SECCOMP_RET_USER_NOTIF), which
// answers them in the caller's place. Linux only; gVisor refuses such filters.
package notify

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// notification is struct seccomp_notif: a call that waits for an answer (seccomp_unotify(2)).
type notification struct {
	id     uint64
	thread uint32 // 0 where the caller is in no pid namespace of ours
	flags  uint32
	number int32
	_      uint32 // architecture: the filter lets only one through
	_      uint64 // instruction pointer
	args   [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	value int64
	err   int32
	flags uint32
}

// addition is struct seccomp_notif_addfd: a descriptor of the supervisor's for the caller.
type addition struct {
	id       uint64
	flags    uint32
	source   uint32
	target   uint32
	newFlags uint32
}

// listener is the descriptor of a filter that asks.
type listener int

func (listener listener) receive(received *notification) error {
	*received = notification{}
	_, _, number := unix.Syscall(
		unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(received)))
	return orNil(number)
}

// send answers a call. ENOENT: the caller is gone, or a signal has interrupted it.
func (listener listener) send(answer *response) error {
	_, _, number := unix.RawSyscall(
		unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(answer)))
	return orNil(number)
}

// sendDescriptor answers a call with a copy of a descriptor. What it names is then open in the caller alone.
func (listener listener) sendDescriptor(id uint64, descriptor int, closeOnExec bool) error {
	added := addition{id: id, flags: unix.SECCOMP_ADDFD_FLAG_SEND, source: uint32(descriptor)}
	if closeOnExec {
		added.newFlags = unix.O_CLOEXEC
	}
	_, _, number := unix.RawSyscall(
		unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_ADDFD, uintptr(unsafe.Pointer(&added)))
	return orNil(number)
}

// wakeTogether asks the kernel to run supervisor and caller on one processor in turn, as they wait for each other
// anyway. Kernels before 6.6 do not know it, and all works without.
func (listener listener) wakeTogether() {
	_, _, _ = unix.RawSyscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS,
		unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
}

// isValid says whether the caller still waits: before that is known, its number may be another process's.
func (listener listener) isValid(id uint64) bool {
	_, _, number := unix.RawSyscall(
		unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_ID_VALID, uintptr(unsafe.Pointer(&id)))
	return number == 0
}

func orNil(number unix.Errno) error {
	if number != 0 {
		return number
	}
	return nil
}
