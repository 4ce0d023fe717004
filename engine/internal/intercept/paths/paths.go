//go:build linux && amd64

// Package paths finds out which file a system call of another process names: absolute, clean, without looking at
// symbolic links. It asks /proc of the tracer and matches no rule.
package paths

import (
	"bytes"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Limit is PATH_MAX of Linux, the final NUL included.
const Limit = 4096

// Resolver holds the buffers of one tracer: a path is valid until the next call of Resolve. It allocates nothing.
type Resolver struct {
	proc [64]byte
	link [Limit]byte
	seen [2 * Limit]byte
	name [2 * Limit]byte
	root Identity
}

// Identity tells a file from all others.
type Identity struct {
	Device, Inode uint64
}

// Path is a resolved path.
type Path struct {
	// Name is absolute and clean; it ends in a slash where the process's own path did.
	Name []byte
	// Relative paths rest on the name that /proc gives a directory. See IsTrue.
	Relative  bool
	directory int
}

// NewResolver returns a resolver that takes the caller's root directory for the tracer's own.
func NewResolver() (*Resolver, error) {
	resolver := &Resolver{}
	root, err := identity(append(resolver.proc[:0], "/\x00"...))
	resolver.root = root
	return resolver, err
}

// Resolve returns the file that a thread means by a path relative to a directory's descriptor (or AT_FDCWD). False
// where that cannot be said: an empty path, a directory that is gone or that the tracer may not look at.
func (resolver *Resolver) Resolve(thread int, directory int32, path []byte) (Path, bool) {
	if len(path) == 0 {
		return Path{}, false
	}
	resolved := Path{directory: int(directory)}
	length := 0
	if path[0] != '/' {
		link, ok := resolver.directoryLink(thread, int(directory))
		if !ok {
			return Path{}, false
		}
		resolved.Relative = true
		length = copy(resolver.name[:], link)
		if length == 1 {
			length = 0
		}
	}
	resolved.Name = clean(resolver.name[:], length, path)
	return resolved, true
}

// Descriptor returns the path of an open file.
func (resolver *Resolver) Descriptor(thread int, descriptor int32) ([]byte, bool) {
	return resolver.directoryLink(thread, int(descriptor))
}

// directoryLink is the name that /proc gives the working directory or a descriptor.
func (resolver *Resolver) directoryLink(thread, directory int) ([]byte, bool) {
	if directory < 0 && directory != unix.AT_FDCWD {
		return nil, false
	}
	length, _, number := unix.RawSyscall6(unix.SYS_READLINKAT, atWorkingDirectory,
		uintptr(unsafe.Pointer(&resolver.directoryName(thread, directory)[0])),
		uintptr(unsafe.Pointer(&resolver.link)), Limit, 0, 0)
	// Not a path: `pipe:[1]`, and gVisor's `host:[1]`.
	if number != 0 || length == 0 || int(length) >= Limit || resolver.link[0] != '/' {
		return nil, false
	}
	return resolver.link[:length], true
}

// IsTrue says whether the name that a relative path was resolved with leads the tracer to the same directory as the
// process: not where the directory was removed, lies in another mount namespace, or in a mount without a place (runc
// opens files below such a procfs, whose own name is `/`).
func (resolver *Resolver) IsTrue(thread int, path Path) bool {
	if !path.Relative {
		return true
	}
	link, ok := resolver.directoryLink(thread, path.directory)
	if !ok || len(link) == Limit-1 {
		return false
	}
	resolver.link[len(link)] = 0
	named, err := identity(resolver.link[:len(link)+1])
	if err != nil {
		return false
	}
	actual, err := identity(resolver.directoryName(thread, path.directory))
	return err == nil && named == actual
}

// IsInside says whether a thread has the tracer's own root directory. A thread that is gone has not.
func (resolver *Resolver) IsInside(thread int) bool {
	root, err := identity(append(resolver.process(thread), "/root\x00"...))
	return err == nil && root == resolver.root
}

// Device returns the device of a file as a thread sees it, whose mounts may be others than the tracer's; the path is
// absolute.
func (resolver *Resolver) Device(thread int, name []byte) (uint64, error) {
	seen := strconv.AppendInt(append(resolver.seen[:0], "/proc/"...), int64(thread), 10)
	seen = append(append(append(seen, "/root"...), name...), 0)
	file, err := identity(seen)
	return file.Device, err
}

// DescriptorDevice is Device for an open file.
func (resolver *Resolver) DescriptorDevice(thread int, descriptor int32) (uint64, error) {
	file, err := identity(resolver.directoryName(thread, int(descriptor)))
	return file.Device, err
}

// directoryName is the place of a directory in /proc, with a final NUL.
func (resolver *Resolver) directoryName(thread, directory int) []byte {
	name := resolver.process(thread)
	if directory == unix.AT_FDCWD {
		return append(name, "/cwd\x00"...)
	}
	name = append(name, "/fd/"...)
	return append(strconv.AppendInt(name, int64(directory), 10), 0)
}

// process is a thread's directory in /proc.
func (resolver *Resolver) process(thread int) []byte {
	return strconv.AppendInt(append(resolver.proc[:0], "/proc/"...), int64(thread), 10)
}

var workingDirectory = unix.AT_FDCWD

var atWorkingDirectory = uintptr(workingDirectory)

// identity follows symbolic links. The name ends in a NUL.
func identity(terminated []byte) (Identity, error) {
	var status unix.Stat_t
	if number := stat(terminated, &status); number != 0 {
		return Identity{}, number
	}
	return Identity{status.Dev, status.Ino}, nil
}

func stat(terminated []byte, status *unix.Stat_t) unix.Errno {
	_, _, number := unix.RawSyscall6(unix.SYS_NEWFSTATAT, atWorkingDirectory,
		uintptr(unsafe.Pointer(&terminated[0])), uintptr(unsafe.Pointer(status)), 0, 0, 0)
	return number
}

// Overlays says whether the target of an only_existing rule, given with a final NUL, takes the original's place. A
// directory does not where the original is one too: the files in it that have no counterpart must stay reachable. The
// original's slice must have room for a NUL.
func Overlays(original, target []byte) bool {
	switch kind(target) {
	case 0:
		return false
	case unix.S_IFDIR:
		return kind(append(original, 0)) != unix.S_IFDIR
	}
	return true
}

// kind is the type of a file as in st_mode (stat(2)), symbolic links followed; 0 where there is none.
func kind(terminated []byte) uint32 {
	var status unix.Stat_t
	if stat(terminated, &status) != 0 {
		return 0
	}
	return status.Mode & unix.S_IFMT
}

// clean joins a path to the first length bytes of the buffer, which are a clean directory (none stands for `/`), and
// takes out `.`, `..` and doubled slashes. A final slash stays: it asks for a directory.
func clean(buffer []byte, length int, path []byte) []byte {
	wantsDirectory := false
	for len(path) > 0 {
		component := path
		if end := bytes.IndexByte(path, '/'); end >= 0 {
			component, path = path[:end], path[end+1:]
			wantsDirectory = true
		} else {
			path = nil
			wantsDirectory = false
		}
		switch {
		case len(component) == 0:
		case len(component) == 1 && component[0] == '.':
			wantsDirectory = true
		case len(component) == 2 && component[0] == '.' && component[1] == '.':
			length = max(bytes.LastIndexByte(buffer[:length], '/'), 0)
			wantsDirectory = true
		default:
			buffer[length] = '/'
			length += 1 + copy(buffer[length+1:], component)
		}
	}
	if length == 0 || wantsDirectory {
		buffer[length] = '/'
		length++
	}
	return buffer[:length]
}
