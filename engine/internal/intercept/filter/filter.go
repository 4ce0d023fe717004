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
	argumentsOffset    = 16
	argumentSize       = 8
)

// x32Bit marks the numbers of the x32 ABI, which has the architecture of x86-64.
const x32Bit = 0x40000000

// Caught is a call to be stopped. With an argument (0 to 5; -1 for none) only where that is not zero.
type Caught struct {
	Number, NotZero int
}

// Program is a filter that answers action for the calls and SECCOMP_RET_ALLOW for everything else: other numbers and the
// calls of i386 and x32 programs, whose numbers mean other calls.
func Program(caught []Caught, action uint32) ([]unix.SockFilter, error) {
	caught = slices.Clone(caught)
	slices.SortFunc(caught, func(one, other Caught) int { return one.Number - other.Number })
	tests := make([][]bpf.Instruction, len(caught))
	length := 0
	for index, call := range slices.Backward(caught) {
		tests[index] = test(call, uint8(length))
		length += len(tests[index])
	}
	instructions := []bpf.Instruction{
		bpf.LoadAbsolute{Off: architectureOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.AUDIT_ARCH_X86_64, SkipTrue: uint8(length) + 2},
		bpf.LoadAbsolute{Off: numberOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: x32Bit, SkipTrue: uint8(length)},
	}
	instructions = append(instructions, slices.Concat(tests...)...)
	instructions = append(instructions, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}, bpf.RetConstant{Val: action})
	return assembled(instructions)
}

// test jumps to the action if the call is the one, and goes on if it is not. after is how many instructions follow before
// the two that end the program.
func test(call Caught, after uint8) []bpf.Instruction {
	if call.NotZero < 0 {
		return []bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(call.Number), SkipTrue: after + 1}}
	}
	lower := uint32(argumentsOffset + argumentSize*call.NotZero)
	return []bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(call.Number), SkipTrue: 5},
		bpf.LoadAbsolute{Off: lower, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: after + 4},
		bpf.LoadAbsolute{Off: lower + 4, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: after + 2},
		// The accumulator is an argument's, which the tests of other numbers must not see.
		bpf.Jump{Skip: uint32(after)},
	}
}

func assembled(instructions []bpf.Instruction) ([]unix.SockFilter, error) {
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
