//go:build linux && amd64

package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"kins/engine/internal/intercept/filter"
	"kins/engine/internal/intercept/ptrace"
)

// Stub is the main function of the third process: arguments are the descriptor of the pipe to wait for, the numbers of
// the calls to catch, and the command. It returns only when it could not become the command.
func Stub(arguments []string) int {
	// The filter belongs to the thread that has installed it, and so does the tracer.
	runtime.LockOSThread()
	gate, err := strconv.Atoi(arguments[0])
	if err != nil {
		return StatusUsage
	}
	numbers, err := split(arguments[1])
	if err != nil {
		return StatusUsage
	}
	var word [1]byte
	if count, err := unix.Read(gate, word[:]); err != nil || count == 0 {
		// The tracer has been killed, or could not begin; the front says which.
		return StatusFailed
	}
	_ = unix.Close(gate)
	if len(numbers) > 0 {
		if err := beCaught(numbers); err != nil {
			return complain(StatusFailed, fmt.Errorf("the seccomp filter: %w", err))
		}
	}
	return become(arguments[2:])
}

// beCaught installs the filter and makes the two calls that show the order of stops to the tracer. Nothing may be
// called in between that the filter catches.
func beCaught(numbers []int) error {
	program, err := filter.Program(numbers, unix.SECCOMP_RET_TRACE)
	if err != nil {
		return err
	}
	call := measured(numbers)
	if _, err := filter.Install(program, 0); err != nil {
		return err
	}
	_, _, _ = unix.RawSyscall6(call, ptrace.FirstMeasure, 0, 0, 0, 0, 0)
	_, _, _ = unix.RawSyscall6(call, ptrace.SecondMeasure, 0, 0, 0, 0, 0)
	return nil
}

// measured chooses a caught call that does nothing with these arguments but fail.
func measured(numbers []int) uintptr {
	for _, number := range []int{unix.SYS_OPENAT, unix.SYS_STATFS} {
		if slices.Contains(numbers, number) {
			return uintptr(number)
		}
	}
	return unix.SYS_UNAME
}

// become replaces this process by the command. The search on PATH is already subject to the rules.
func become(command []string) int {
	program, err := exec.LookPath(command[0])
	// A program found in the working directory by PATH is run, as every shell does.
	if err == nil || errors.Is(err, exec.ErrDot) {
		err = syscall.Exec(program, command, os.Environ())
	}
	status := StatusNotExecutable
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
		status = StatusNotFound
	}
	return complain(status, fmt.Errorf("%s: %w", command[0], err))
}

// split is the inverse of join.
func split(text string) ([]int, error) {
	var numbers []int
	for field := range strings.SplitSeq(text, ",") {
		if field == "" {
			continue
		}
		number, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, number)
	}
	return numbers, nil
}
