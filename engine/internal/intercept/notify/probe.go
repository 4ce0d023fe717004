//go:build linux && amd64

package notify

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"kins/engine/internal/intercept/filter"
)

// Probe does on a thread of this process what the backend rests on: it answers a call of that thread with a descriptor.
// The first error says why no call can be answered, the second why not with a descriptor.
func Probe() (answer, descriptor error) {
	installed := make(chan listener)
	failed := make(chan error)
	opened := make(chan int)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and with it the filter.
		runtime.LockOSThread()
		program, err := filter.Program([]filter.Caught{{Number: unix.SYS_UNAME, NotZero: -1}}, unix.SECCOMP_RET_USER_NOTIF)
		if err != nil {
			failed <- err
			return
		}
		made, err := filter.Install(program, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
		if err != nil {
			failed <- fmt.Errorf("seccomp: %w", err)
			return
		}
		installed <- listener(made)
		result, _, _ := unix.Syscall(unix.SYS_UNAME, 0, 0, 0)
		opened <- int(result)
	}()
	select {
	case err := <-failed:
		return err, err
	case made := <-installed:
		defer unix.Close(int(made))
		return answerOnce(made, opened)
	}
}

// answerOnce answers the probe's call with the standard input.
func answerOnce(made listener, opened <-chan int) (answer, descriptor error) {
	var asked notification
	if err := made.receive(&asked); err != nil {
		err = fmt.Errorf("SECCOMP_IOCTL_NOTIF_RECV: %w", err)
		return err, err
	}
	if err := made.sendDescriptor(asked.id, unix.Stdin, true); err != nil {
		descriptor = fmt.Errorf("SECCOMP_IOCTL_NOTIF_ADDFD: %w", err)
		if err := made.send(&response{id: asked.id, err: -int32(unix.EPERM)}); err != nil {
			answer = fmt.Errorf("SECCOMP_IOCTL_NOTIF_SEND: %w", err)
		}
		return answer, descriptor
	}
	if copied := <-opened; unix.Close(copied) != nil {
		descriptor = errors.New("SECCOMP_IOCTL_NOTIF_ADDFD: there is no descriptor")
	}
	return nil, descriptor
}
