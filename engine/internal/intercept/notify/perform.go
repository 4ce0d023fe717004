//go:build linux && amd64

package notify

import (
	"encoding/binary"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"kins/engine/internal/intercept/memory"
)

const (
	// howSize is that of struct open_how (openat2(2)), and confinement are its flags that let no absolute path be opened.
	howSize     = 24
	confinement = unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_XDEV

	statusSize         = int(unsafe.Sizeof(unix.Stat_t{}))
	extendedStatusSize = int(unsafe.Sizeof(unix.Statx_t{}))
	attributeLimit     = 65536 // XATTR_SIZE_MAX
)

var workingDirectory = unix.AT_FDCWD

var atWorkingDirectory = uintptr(workingDirectory)

// perform does a redirected call, whose path is in supervisor.target, with the caller's credentials.
func (supervisor *Supervisor) perform(asked *notification) result {
	found, err := callerOf(int(asked.thread))
	if err != nil {
		return failure(err)
	}
	wanted := found.effective
	switch asked.number {
	case unix.SYS_ACCESS, unix.SYS_FACCESSAT:
		wanted = found.real
	case unix.SYS_FACCESSAT2:
		if asked.args[3]&unix.AT_EACCESS == 0 {
			wanted = found.real
		}
	}
	if err := supervisor.take(wanted); err != nil {
		return failure(err)
	}
	args := &asked.args
	switch asked.number {
	case unix.SYS_OPEN:
		return supervisor.open(asked, unix.OpenHow{Flags: args[1], Mode: args[2]}, found.umask)
	case unix.SYS_CREAT:
		return supervisor.open(asked, unix.OpenHow{Flags: unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC, Mode: args[1]}, found.umask)
	case unix.SYS_OPENAT:
		return supervisor.open(asked, unix.OpenHow{Flags: args[2], Mode: args[3]}, found.umask)
	case unix.SYS_OPENAT2:
		return supervisor.openByStructure(asked, found.umask)
	case unix.SYS_STAT:
		return supervisor.fill(asked, args[1], statusSize, unix.SYS_NEWFSTATAT, 2, 0)
	case unix.SYS_LSTAT:
		return supervisor.fill(asked, args[1], statusSize, unix.SYS_NEWFSTATAT, 2, unix.AT_SYMLINK_NOFOLLOW)
	case unix.SYS_NEWFSTATAT:
		return supervisor.fill(asked, args[2], statusSize, unix.SYS_NEWFSTATAT, 2, args[3])
	case unix.SYS_STATX:
		return supervisor.fill(asked, args[4], extendedStatusSize, unix.SYS_STATX, 4, args[2], args[3])
	case unix.SYS_ACCESS:
		return supervisor.call(unix.SYS_FACCESSAT2, atWorkingDirectory, args[1], unix.AT_EACCESS)
	case unix.SYS_FACCESSAT:
		return supervisor.call(unix.SYS_FACCESSAT2, atWorkingDirectory, args[2], unix.AT_EACCESS)
	case unix.SYS_FACCESSAT2:
		return supervisor.call(unix.SYS_FACCESSAT2, atWorkingDirectory, args[2], args[3]|unix.AT_EACCESS)
	case unix.SYS_READLINK:
		return supervisor.readLink(asked, args[1], args[2])
	case unix.SYS_READLINKAT:
		return supervisor.readLink(asked, args[2], args[3])
	case unix.SYS_TRUNCATE:
		_, _, number := unix.Syscall(unix.SYS_TRUNCATE, supervisor.targetAddress(), uintptr(args[1]), 0)
		return finished(0, number)
	case unix.SYS_GETXATTR, unix.SYS_LGETXATTR:
		return supervisor.attribute(asked)
	}
	return through
}

// finished is the result of a call of the supervisor's own.
func finished(value uintptr, number unix.Errno) result {
	if number != 0 {
		return failure(number)
	}
	return result{value: int64(value)}
}

func (supervisor *Supervisor) targetAddress() uintptr {
	return uintptr(unsafe.Pointer(&supervisor.target.Terminated()[0]))
}

// call does a call of the form (directory, path, two numbers).
func (supervisor *Supervisor) call(number, directory uintptr, first, second uint64) result {
	value, _, failed := unix.Syscall6(
		number, directory, supervisor.targetAddress(), uintptr(first), uintptr(second), 0, 0)
	return finished(value, failed)
}

// fill does a call that fills a buffer, which is then written to the caller: (directory, path, numbers...) with the
// buffer at the given position.
func (supervisor *Supervisor) fill(asked *notification, address uint64, size int, number uintptr, position int, numbers ...uint64) result {
	buffer := make([]byte, size)
	args := [6]uintptr{atWorkingDirectory, supervisor.targetAddress()}
	for place := 2; len(numbers) > 0 || place == position; place++ {
		if place == position {
			args[place] = uintptr(unsafe.Pointer(&buffer[0]))
			continue
		}
		args[place], numbers = uintptr(numbers[0]), numbers[1:]
	}
	_, _, failed := unix.Syscall6(number, args[0], args[1], args[2], args[3], args[4], args[5])
	if failed != 0 {
		return failure(failed)
	}
	return supervisor.deliver(asked, address, buffer, 0)
}

// deliver writes an answer to the caller.
func (supervisor *Supervisor) deliver(asked *notification, address uint64, answer []byte, value int64) result {
	if !supervisor.listener.isValid(asked.id) {
		return result{answered: true}
	}
	if err := memory.WriteAnswer(int(asked.thread), uintptr(address), answer); err != nil {
		return failure(unix.EFAULT)
	}
	return result{value: value}
}

func (supervisor *Supervisor) readLink(asked *notification, address, size uint64) result {
	if int32(size) <= 0 {
		return failure(unix.EINVAL)
	}
	buffer := make([]byte, min(size, memory.PathLimit))
	length, _, number := unix.Syscall6(unix.SYS_READLINKAT, atWorkingDirectory, supervisor.targetAddress(),
		uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)), 0, 0)
	if number != 0 {
		return failure(number)
	}
	return supervisor.deliver(asked, address, buffer[:length], int64(length))
}

func (supervisor *Supervisor) attribute(asked *notification) result {
	var space [memory.PathLimit]byte
	name, err := memory.ReadPath(int(asked.thread), uintptr(asked.args[1]), &space)
	if err != nil {
		return failure(unix.EFAULT)
	}
	buffer := make([]byte, min(asked.args[3], attributeLimit)+1)
	length, _, number := unix.Syscall6(uintptr(asked.number), supervisor.targetAddress(),
		uintptr(unsafe.Pointer(&append(name, 0)[0])), uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)-1), 0, 0)
	if number != 0 || len(buffer) == 1 {
		return finished(length, number)
	}
	return supervisor.deliver(asked, asked.args[2], buffer[:length], int64(length))
}

// openByStructure is openat2.
func (supervisor *Supervisor) openByStructure(asked *notification, umask uint32) result {
	var structure [howSize]byte
	if asked.args[3] < howSize || memory.Read(int(asked.thread), uintptr(asked.args[2]), structure[:]) != nil {
		return through
	}
	return supervisor.open(asked, unix.OpenHow{
		Flags:   binary.LittleEndian.Uint64(structure[0:]),
		Mode:    binary.LittleEndian.Uint64(structure[8:]),
		Resolve: binary.LittleEndian.Uint64(structure[16:]) &^ confinement,
	}, umask)
}

// open opens the target and gives the caller a copy of the descriptor.
func (supervisor *Supervisor) open(asked *notification, how unix.OpenHow, umask uint32) result {
	how.Mode &^= uint64(umask)
	name := string(supervisor.target.Bytes())
	if !supervisor.mayWait(how) {
		return openFor(supervisor.listener, asked.id, name, how, asked.number == unix.SYS_OPENAT2)
	}
	// A fifo may wait for its other end as long as it likes, and others must not wait with it.
	taken := supervisor.credentials
	go func() {
		runtime.LockOSThread()
		var own credentials
		if own.prepare() == nil && own.take(taken) == nil {
			if found := openFor(supervisor.listener, asked.id, name, how, false); !found.answered {
				var number unix.Errno
				if found.err != nil {
					number = found.err.(unix.Errno)
				}
				_ = supervisor.listener.send(&response{id: asked.id, err: -int32(number)})
			}
		}
	}()
	return result{answered: true}
}

// mayWait says whether the open may take for ever.
func (supervisor *Supervisor) mayWait(how unix.OpenHow) bool {
	var status unix.Stat_t
	return how.Flags&(unix.O_NONBLOCK|unix.O_PATH) == 0 &&
		unix.Stat(string(supervisor.target.Bytes()), &status) == nil && status.Mode&unix.S_IFMT == unix.S_IFIFO
}

// openFor opens a file and answers a call with it.
func openFor(listener listener, id uint64, name string, how unix.OpenHow, isStrict bool) result {
	var descriptor int
	var err error
	if isStrict {
		how.Flags |= unix.O_NOCTTY
		descriptor, err = unix.Openat2(unix.AT_FDCWD, name, &how)
	} else {
		// Unlike openat2, open ignores flags that it does not know.
		descriptor, err = unix.Openat(unix.AT_FDCWD, name, int(how.Flags)|unix.O_NOCTTY, uint32(how.Mode))
	}
	if err != nil {
		return failure(err)
	}
	defer unix.Close(descriptor)
	if err := listener.sendDescriptor(id, descriptor, how.Flags&unix.O_CLOEXEC != 0); err != nil {
		// EMFILE is the caller's. ENOENT: the caller is gone.
		return failure(err)
	}
	return result{answered: true}
}
