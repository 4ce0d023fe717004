//go:build linux && amd64

package notify

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"kins/engine/internal/intercept/rules"
)

const releaseSize = 65

// statfs answers a path's file system, seen as the caller sees it.
func (supervisor *Supervisor) statfs(asked *notification, redirected *rules.Redirection, path, named []byte) result {
	thread := int(asked.thread)
	seen := fmt.Sprintf("/proc/%d/root%s", thread, path)
	if len(path) > 0 && path[0] != '/' {
		seen = fmt.Sprintf("/proc/%d/cwd/%s", thread, path)
	}
	names := [][]byte{named}
	if redirected != nil {
		seen = string(supervisor.target.Bytes())
		names = append(names, supervisor.target.Bytes())
		supervisor.counters.Match(redirected.Index)
	}
	if len(path) == 0 || redirected == nil && len(supervisor.rules.Statfs) == 0 {
		return through
	}
	return supervisor.system(asked, seen, names, redirected != nil)
}

func (supervisor *Supervisor) fstatfs(asked *notification) result {
	thread, descriptor := int(asked.thread), int32(asked.args[0])
	name, ok := supervisor.resolver.Descriptor(thread, descriptor)
	if !ok {
		name = nil
	}
	return supervisor.system(asked, fmt.Sprintf("/proc/%d/fd/%d", thread, descriptor), [][]byte{name}, false)
}

// system asks for the file system of a file that the supervisor sees by one name and the caller by others. Where no
// rule holds, the kernel answers the caller itself, unless the file is another one than the caller's.
func (supervisor *Supervisor) system(asked *notification, seen string, names [][]byte, isAnother bool) result {
	var answer unix.Statfs_t
	if err := unix.Statfs(seen, &answer); err != nil {
		if isAnother {
			return failure(err)
		}
		return through
	}
	rule := supervisor.typeRule(int(asked.thread), seen, names, answer.Type)
	if rule == nil && !isAnother {
		return through
	}
	if rule != nil {
		answer.Type = rule.Type
		supervisor.counters.Match(rule.Index)
	}
	content := unsafe.Slice((*byte)(unsafe.Pointer(&answer)), unsafe.Sizeof(answer))
	return supervisor.deliver(asked, asked.args[1], content, 0)
}

// typeRule is the first statfs rule that holds for a file.
func (supervisor *Supervisor) typeRule(thread int, seen string, names [][]byte, answered int64) *rules.Type {
	for index := range supervisor.rules.Statfs {
		rule := &supervisor.rules.Statfs[index]
		if rule.FromType != nil && *rule.FromType == answered || supervisor.isOnMount(thread, seen, rule) {
			return rule
		}
		for _, name := range names {
			if rule.Below(name) {
				return rule
			}
		}
	}
	return nil
}

// isOnMount says whether a file lies on the file system at the rule's mount point.
func (supervisor *Supervisor) isOnMount(thread int, seen string, rule *rules.Type) bool {
	if rule.Mount == "" {
		return false
	}
	var file unix.Stat_t
	mounted, err := supervisor.resolver.Device(thread, rule.MountPoint)
	return err == nil && unix.Stat(seen, &file) == nil && file.Dev == mounted
}

// uname answers with the names of the caller's namespace, and the rule's release.
func (supervisor *Supervisor) uname(asked *notification) result {
	var names unix.Utsname
	if err := inNames(int(asked.thread), func() error { return unix.Uname(&names) }); err != nil {
		return through
	}
	names.Release = [releaseSize]byte{}
	copy(names.Release[:], supervisor.rules.Release.Name)
	supervisor.counters.Match(supervisor.rules.Release.Index)
	content := unsafe.Slice((*byte)(unsafe.Pointer(&names)), unsafe.Sizeof(names))
	return supervisor.deliver(asked, asked.args[0], content, 0)
}

// inNames does something in a thread's UTS namespace.
func inNames(thread int, function func() error) error {
	theirs := fmt.Sprintf("/proc/%d/ns/uts", thread)
	var own, other unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/uts", &own); err != nil {
		return err
	}
	if err := unix.Stat(theirs, &other); err != nil {
		return err
	}
	if own.Ino == other.Ino {
		return function()
	}
	back, err := os.Open("/proc/thread-self/ns/uts")
	if err != nil {
		return err
	}
	defer back.Close()
	into, err := os.Open(theirs)
	if err != nil {
		return err
	}
	defer into.Close()
	if err := unix.Setns(int(into.Fd()), unix.CLONE_NEWUTS); err != nil {
		return err
	}
	failed := function()
	if err := unix.Setns(int(back.Fd()), unix.CLONE_NEWUTS); err != nil {
		return err
	}
	return failed
}
