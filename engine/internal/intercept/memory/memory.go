//go:build linux && amd64

// Package memory reads and writes the memory of traced processes, and keeps pages of the tracer's own in them. It never
// writes where the program's own data lie, but for the answers that the kernel has just written there.
package memory

import (
	"bytes"
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	pageSize = 4096
	wordSize = 8
	// firstRead is enough for nearly every path.
	firstRead = 256
)

// PathLimit is PATH_MAX of Linux, the final NUL included.
const PathLimit = 4096

// Read fills a buffer from a thread's memory, which must be stopped if it is not ours to read otherwise.
func Read(thread int, address uintptr, buffer []byte) error {
	local := unix.Iovec{Base: &buffer[0], Len: uint64(len(buffer))}
	remote := unix.RemoteIovec{Base: address, Len: len(buffer)}
	count, _, number := unix.RawSyscall6(unix.SYS_PROCESS_VM_READV, uintptr(thread),
		uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&remote)), 1, 0)
	switch {
	case number == 0 && int(count) == len(buffer):
		return nil
	case number == unix.EPERM || number == unix.ENOSYS:
		// A program that is not dumpable refuses everybody but its tracer.
		return peek(thread, address, buffer)
	case number == 0:
		return unix.EFAULT
	}
	return number
}

// peek is Read by ptrace, eight bytes at a time.
func peek(thread int, address uintptr, buffer []byte) error {
	for done := 0; done < len(buffer); {
		at := (address + uintptr(done)) &^ (wordSize - 1)
		var word [wordSize]byte
		_, _, number := unix.RawSyscall6(
			unix.SYS_PTRACE, unix.PTRACE_PEEKDATA, uintptr(thread), at, uintptr(unsafe.Pointer(&word)), 0, 0)
		if number != 0 {
			return number
		}
		done += copy(buffer[done:], word[address+uintptr(done)-at:])
	}
	return nil
}

// ReadPath reads a C string into the buffer and returns it without its NUL; EFAULT and ENAMETOOLONG as the kernel would.
// It never reads beyond the page that the string ends in.
func ReadPath(thread int, address uintptr, buffer *[PathLimit]byte) ([]byte, error) {
	for length := 0; length < PathLimit; {
		size := pageSize - int((address+uintptr(length))%pageSize)
		if length == 0 {
			size = min(size, firstRead)
		}
		size = min(size, PathLimit-length)
		chunk := buffer[length : length+size]
		if err := Read(thread, address+uintptr(length), chunk); err != nil {
			return nil, err
		}
		if end := bytes.IndexByte(chunk, 0); end >= 0 {
			return buffer[:length+end], nil
		}
		length += size
	}
	return nil, unix.ENAMETOOLONG
}

// WriteAnswer writes to memory that the program itself may write to, and that need not be stopped.
func WriteAnswer(thread int, address uintptr, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	local := unix.Iovec{Base: &data[0], Len: uint64(len(data))}
	remote := unix.RemoteIovec{Base: address, Len: len(data)}
	count, _, number := unix.RawSyscall6(unix.SYS_PROCESS_VM_WRITEV, uintptr(thread),
		uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&remote)), 1, 0)
	switch {
	case number != 0:
		return number
	case int(count) != len(data):
		return unix.EFAULT
	}
	return nil
}

// Write puts bytes into a stopped thread's memory by ptrace, which also reaches pages that the program may only read.
// What the last word holds beyond the data stays as it is.
func Write(thread int, address uintptr, data []byte) error {
	for len(data) > 0 {
		var word [wordSize]byte
		if len(data) < wordSize {
			if err := Read(thread, address, word[:]); err != nil {
				// The data may end where a mapping does: go on with the word that ends there.
				return writeEnd(thread, address, data)
			}
		}
		length := copy(word[:], data)
		if err := poke(thread, address, word); err != nil {
			return err
		}
		data, address = data[length:], address+uintptr(length)
	}
	return nil
}

// writeEnd writes less than a word by the aligned words that hold it.
func writeEnd(thread int, address uintptr, data []byte) error {
	for index := range data {
		at := (address + uintptr(index)) &^ (wordSize - 1)
		var word [wordSize]byte
		if err := peek(thread, at, word[:]); err != nil {
			return err
		}
		word[address+uintptr(index)-at] = data[index]
		if err := poke(thread, at, word); err != nil {
			return err
		}
	}
	return nil
}

func poke(thread int, address uintptr, word [wordSize]byte) error {
	_, _, number := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_POKEDATA,
		uintptr(thread), address, uintptr(binary.LittleEndian.Uint64(word[:])), 0, 0)
	if number != 0 {
		return number
	}
	return nil
}
