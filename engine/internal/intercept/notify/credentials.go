//go:build linux && amd64

package notify

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// credentials are what the supervisor's thread has taken on: file accesses in a caller's place must be allowed exactly
// where the caller's own were. An fsuid that is not root's takes the thread its capabilities over files.
type credentials struct {
	user, group int
	groups      []uint32
}

// caller is what /proc says about a caller (proc_pid_status(5)).
type caller struct {
	real, effective credentials
	umask           uint32
}

// prepare gives the calling thread a umask of its own, none, because the caller's is applied instead, and blocks all
// signals there: one (Go sends itself many) that interrupts SECCOMP_IOCTL_NOTIF_ADDFD leaves the call answered, with
// descriptor 0.
func (current *credentials) prepare() error {
	var all unix.Sigset_t
	for index := range all.Val {
		all.Val[index] = ^uint64(0)
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &all, nil); err != nil {
		return fmt.Errorf("pthread_sigmask: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	_ = unix.Umask(0)
	current.user, current.group = unix.Geteuid(), unix.Getegid()
	groups, err := unix.Getgroups()
	if err != nil {
		return fmt.Errorf("getgroups: %w", err)
	}
	for _, group := range groups {
		current.groups = append(current.groups, uint32(group))
	}
	return nil
}

// take makes the credentials the thread's own. Only of the thread: Go's own functions would change all threads.
func (current *credentials) take(wanted credentials) error {
	if !slices.Equal(current.groups, wanted.groups) {
		var first unsafe.Pointer
		if len(wanted.groups) > 0 {
			first = unsafe.Pointer(&wanted.groups[0])
		}
		if _, _, number := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(wanted.groups)), uintptr(first), 0); number != 0 {
			return number
		}
		current.groups = wanted.groups
	}
	if current.group != wanted.group {
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSGID, uintptr(wanted.group), 0, 0)
		current.group = wanted.group
	}
	if current.user != wanted.user {
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uintptr(wanted.user), 0, 0)
		current.user = wanted.user
	}
	return nil
}

// callerOf reads a thread's credentials.
func callerOf(thread int) (caller, error) {
	content, err := os.ReadFile("/proc/" + strconv.Itoa(thread) + "/status")
	if err != nil {
		return caller{}, unix.ESRCH
	}
	users, groups := fields(content, "\nUid:"), fields(content, "\nGid:")
	if len(users) != 4 || len(groups) != 4 {
		return caller{}, unix.ESRCH
	}
	var found caller
	for _, group := range fields(content, "\nGroups:") {
		found.real.groups = append(found.real.groups, uint32(group))
	}
	found.effective.groups = found.real.groups
	// The columns are real, effective, saved, and of the file system.
	found.real.user, found.real.group = users[0], groups[0]
	found.effective.user, found.effective.group = users[3], groups[3]
	umask, err := strconv.ParseUint(string(bytes.TrimSpace(line(content, "\nUmask:"))), 8, 32)
	found.umask = uint32(umask)
	return found, err
}

// groupOf is the process of a thread, in the supervisor's pid namespace; the number itself where that is gone.
func groupOf(thread int) int {
	content, err := os.ReadFile("/proc/" + strconv.Itoa(thread) + "/status")
	if numbers := fields(content, "\nTgid:"); err == nil && len(numbers) == 1 {
		return numbers[0]
	}
	return thread
}

func line(content []byte, name string) []byte {
	_, rest, _ := bytes.Cut(content, []byte(name))
	found, _, _ := bytes.Cut(rest, []byte("\n"))
	return found
}

func fields(content []byte, name string) []int {
	var numbers []int
	for field := range bytes.FieldsSeq(line(content, name)) {
		if number, err := strconv.Atoi(string(field)); err == nil {
			numbers = append(numbers, number)
		}
	}
	return numbers
}
