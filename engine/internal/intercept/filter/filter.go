//go:build linux && amd64

// Package filter writes and installs the seccomp filter that stops the chosen system calls and lets all others pass
// inside the kernel. It does not choose.
package filter

import (
	"errors"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Places in struct seccomp_data (seccomp(2)).
const (
	numberOffset       = 0
	architectureOffset = 4
)

// x32Bit marks the numbers of the x32 ABI, which has the architecture of x86-64.
const x32Bit = 0x40000000

// Program is a filter that answers action for the numbers and SECCOMP_RET_ALLOW for everything else: other numbers and
// the calls of i386 and x32 programs, whose numbers mean other calls.
func Program(numbers []int, action uint32) ([]unix.SockFilter, error) {
	numbers = slices.Clone(numbers)
	slices.Sort(numbers)
	count := uint8(len(numbers))
	instructions := []bpf.Instruction{
		bpf.LoadAbsolute{Off: architectureOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.AUDIT_ARCH_X86_64, SkipTrue: count + 2},
		bpf.LoadAbsolute{Off: numberOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: x32Bit, SkipTrue: count},
	}
	for index, number := range numbers {
		instructions = append(instructions, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(number), SkipTrue: count - uint8(index)})
	}
	instructions = append(instructions, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}, bpf.RetConstant{Val: action})
	raw, err := bpf.Assemble(instructions)
	if err != nil {
		return nil, err
	}
	program := make([]unix.SockFilter, len(raw))
	for index, instruction := range raw {
		program[index] = unix.SockFilter{Code: instruction.Op, Jt: instruction.Jt, Jf: instruction.Jf, K: instruction.K}
	}
	return program, nil
}

// Install puts a filter on the calling thread, for good; what it starts inherits it. With the flag
// SECCOMP_FILTER_FLAG_NEW_LISTENER the result is the listener's descriptor, else 0.
//
// Without CAP_SYS_ADMIN the kernel asks for no_new_privs, which takes set-user-ID programs their effect: it is set only
// where nothing else works.
func Install(program []unix.SockFilter, flags uint) (int, error) {
	descriptor, err := install(program, flags)
	if !errors.Is(err, unix.EACCES) {
		return descriptor, err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, err
	}
	return install(program, flags)
}

func install(program []unix.SockFilter, flags uint) (int, error) {
	header := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	descriptor, _, number := unix.RawSyscall(
		unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags), uintptr(unsafe.Pointer(&header)))
	runtime.KeepAlive(program)
	if number != 0 {
		return 0, number
	}
	return int(descriptor), nil
}
