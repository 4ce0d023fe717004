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

	"kins/engine/internal/intercept/calls"
	"kins/engine/internal/intercept/filter"
	"kins/engine/internal/intercept/notify"
	"kins/engine/internal/intercept/ptrace"
	"kins/engine/internal/intercept/rules"
)

// stub is the third process as the tracer has it, before it becomes the program.
type stub struct {
	pid  int
	gate int // the tracer's end of the socket that it waits at
}

// startStub starts a process that will install the filter of the rules and then become the command.
func startStub(backend string, set *rules.Set, command []string) (*stub, error) {
	numbers := calls.Needed(set.Needs())
	if backend == Notify {
		numbers = notify.Needed(numbers)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	defer unix.Close(pair[1])
	theirs, err := unix.Dup(pair[1])
	if err != nil {
		return nil, fmt.Errorf("dup: %w", err)
	}
	defer unix.Close(theirs)
	arguments := []string{"kins-intercept", StubArgument, strconv.Itoa(theirs), backend, join(numbers)}
	pid, err := start(append(arguments, command...))
	if err != nil {
		return nil, fmt.Errorf("the stub: %w", err)
	}
	return &stub{pid, pair[0]}, nil
}

// release lets the stub go on.
func (stub *stub) release() error {
	_, err := unix.Write(stub.gate, []byte{1})
	return err
}

// listener waits for the descriptor that the filter's calls come from.
func (stub *stub) listener() (int, error) {
	defer unix.Close(stub.gate)
	var word [1]byte
	const descriptorSize = 4
	space := make([]byte, unix.CmsgSpace(descriptorSize))
	for {
		_, length, _, _, err := unix.Recvmsg(stub.gate, word[:], space, unix.MSG_CMSG_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("recvmsg: %w", err)
		}
		messages, err := unix.ParseSocketControlMessage(space[:length])
		if err != nil || len(messages) == 0 {
			return 0, errors.New("the stub has ended without a filter")
		}
		descriptors, err := unix.ParseUnixRights(&messages[0])
		if err != nil {
			return 0, err
		}
		return descriptors[0], nil
	}
}

// Stub is the main function of the third process: arguments are the descriptor of the socket to wait at, the backend,
// the numbers of the calls to catch, and the command. It returns only when it could not become the command.
func Stub(arguments []string) int {
	// The filter belongs to the thread that has installed it, and so does the tracer.
	runtime.LockOSThread()
	gate, err := strconv.Atoi(arguments[0])
	if err != nil {
		return StatusUsage
	}
	numbers, err := split(arguments[2])
	if err != nil {
		return StatusUsage
	}
	var word [1]byte
	if count, err := unix.Read(gate, word[:]); err != nil || count == 0 {
		// The tracer has been killed, or could not begin; the front says which.
		return StatusFailed
	}
	if len(numbers) > 0 {
		if err := beCaught(arguments[1], gate, numbers); err != nil {
			return complain(StatusFailed, fmt.Errorf("the seccomp filter: %w", err))
		}
	}
	_ = unix.Close(gate)
	return become(arguments[3:])
}

// beCaught installs the filter of a backend.
func beCaught(backend string, gate int, numbers []int) error {
	if backend == Notify {
		return beAnswered(gate, numbers)
	}
	return beTraced(numbers)
}

// beAnswered hands the filter's listener to the tracer. A second one in the same tree is refused with EBUSY.
func beAnswered(gate int, numbers []int) error {
	program, err := filter.Program(caught(numbers), unix.SECCOMP_RET_USER_NOTIF)
	if err != nil {
		return err
	}
	// A call that is being answered must not be begun again because of a signal (Go sends itself many): what the
	// supervisor has done by then would be done twice. Kernels before 5.19 do not know the flag.
	listener, err := filter.Install(program, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
	if errors.Is(err, unix.EINVAL) {
		listener, err = filter.Install(program, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	}
	if err != nil {
		return err
	}
	defer unix.Close(listener)
	return unix.Sendmsg(gate, []byte{1}, unix.UnixRights(listener), nil, 0)
}

// beTraced makes the two calls that show the order of stops to the tracer. Nothing may be called before them that the
// filter catches.
func beTraced(numbers []int) error {
	program, err := filter.Program(caught(numbers), unix.SECCOMP_RET_TRACE)
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

// caught is what the filter needs to know of calls.
func caught(numbers []int) []filter.Caught {
	list := make([]filter.Caught, len(numbers))
	for index, number := range numbers {
		list[index] = filter.Caught{Number: number, NotZero: calls.ByNumber[number].NotZero}
	}
	return list
}

// measured chooses a caught call that does nothing with these arguments but fail.
func measured(numbers []int) uintptr {
	for _, number := range []int{unix.SYS_OPENAT, unix.SYS_STATFS, unix.SYS_CONNECT, unix.SYS_FCHOWN} {
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

// join writes numbers as the stub reads them.
func join(numbers []int) string {
	texts := make([]string, len(numbers))
	for index, number := range numbers {
		texts[index] = strconv.Itoa(number)
	}
	return strings.Join(texts, ",")
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
