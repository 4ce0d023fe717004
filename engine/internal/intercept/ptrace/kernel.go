//go:build linux && amd64

package ptrace

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// options of PTRACE_SEIZE. EXITKILL: a call that the filter sends to a tracer that is gone answers ENOSYS, so
	// the programs must not outlive it.
	options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK |
		unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_EXITKILL

	// syscallTrap is the signal of syscall-enter-stop and syscall-exit-stop with TRACESYSGOOD.
	syscallTrap = unix.SIGTRAP | 0x80

	// syscallLength is that of the instruction `syscall`.
	syscallLength = 2
)

// Seize makes the calling thread the tracer of a thread and all that it will start.
func seize(thread int) error {
	return request(unix.PTRACE_SEIZE, thread, options)
}

// request is ptrace(2) without an address. It allocates nothing and does not tell Go's scheduler, as it never waits.
func request(kind, thread int, data uintptr) error {
	_, _, number := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(kind), uintptr(thread), 0, data, 0, 0)
	if number != 0 {
		return number
	}
	return nil
}

func getRegisters(thread int, registers *unix.PtraceRegs) error {
	return request(unix.PTRACE_GETREGS, thread, uintptr(unsafe.Pointer(registers)))
}

// setRegisters writes all of them: gVisor loses what PTRACE_POKEUSER writes to a single one.
func setRegisters(thread int, registers *unix.PtraceRegs) error {
	return request(unix.PTRACE_SETREGS, thread, uintptr(unsafe.Pointer(registers)))
}

// arguments is how many a system call has at most.
const arguments = 6

// argument is the place of a system call's argument, 0 to 5.
func argument(registers *unix.PtraceRegs, position int) *uint64 {
	switch position {
	case 0:
		return &registers.Rdi
	case 1:
		return &registers.Rsi
	case 2:
		return &registers.Rdx
	case 3:
		return &registers.R10
	case 4:
		return &registers.R8
	}
	return &registers.R9
}

// wait returns the next thread that stopped or ended. ECHILD: there is nothing left to wait for.
func wait() (thread int, status unix.WaitStatus, err error) {
	var raw uint32
	for {
		// First without Go's scheduler, whose bookkeeping costs more than the call when stops come in quick succession.
		found, _, number := unix.RawSyscall6(unix.SYS_WAIT4, anyChild,
			uintptr(unsafe.Pointer(&raw)), unix.WALL|unix.WNOHANG, 0, 0, 0)
		if number == 0 && found == 0 {
			found, _, number = unix.Syscall6(unix.SYS_WAIT4, anyChild, uintptr(unsafe.Pointer(&raw)), unix.WALL, 0, 0, 0)
		}
		if number == unix.EINTR {
			continue
		}
		if number != 0 {
			return 0, 0, number
		}
		return int(found), unix.WaitStatus(raw), nil
	}
}

const anyChild = ^uintptr(0)
