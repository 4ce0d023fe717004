//go:build linux && amd64

package process

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// inherited lists the descriptors that the caller has given to this process for its program, the standard streams
// among them. Go's own are not: they close on exec.
func inherited(own ...int) []int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var list []int
	for _, entry := range entries {
		descriptor, err := strconv.Atoi(entry.Name())
		if err != nil || slices.Contains(own, descriptor) {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(descriptor), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			list = append(list, descriptor)
		}
	}
	return list
}

// keepFromProgram has a descriptor closed on exec that was given to this program, by the path of a file to read.
func keepFromProgram(name string) {
	for _, directory := range []string{"/proc/self/fd/", "/dev/fd/"} {
		text, ok := strings.CutPrefix(name, directory)
		if descriptor, err := strconv.Atoi(text); ok && err == nil && descriptor > 2 {
			unix.CloseOnExec(descriptor)
		}
	}
}

// letGo closes descriptors: whoever waits for the end of a pipe must wait for the program alone. Where they were
// standard streams there is /dev/null then.
func letGo(descriptors []int) {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	for _, descriptor := range descriptors {
		if descriptor <= 2 && err == nil {
			_ = unix.Dup3(null, descriptor, 0)
		} else {
			_ = unix.Close(descriptor)
		}
	}
	if err == nil && null > 2 {
		_ = unix.Close(null)
	}
}
