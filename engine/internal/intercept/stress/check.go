//go:build linux && amd64

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// neighbours is how many objects of a path's size lie around it in the heap, more or less.
const neighbours = 8

// check asks for one file in one of several ways and compares the answer. The path lies among other objects of the heap
// that must not change: a tracer that writes a longer path over the caller's would destroy one.
func check(directory, kind string, generator *rand.Rand) error {
	number := generator.IntN(files)
	name := filepath.Join(directory, kind, strconv.Itoa(number)) + "\x00"
	objects := make([][]byte, neighbours)
	for index := range objects {
		objects[index] = bytes.Repeat([]byte{0xa5}, len(name))
	}
	path := objects[generator.IntN(neighbours)]
	copy(path, name)
	err := compare(directory, kind, number, path, generator.IntN(4))
	if err != nil {
		return fmt.Errorf("%s/%d: %w", kind, number, err)
	}
	if string(path) != name {
		return fmt.Errorf("%s/%d: the path has become %q", kind, number, path)
	}
	for _, object := range objects {
		if &object[0] != &path[0] && !bytes.Equal(object, bytes.Repeat([]byte{0xa5}, len(name))) {
			return fmt.Errorf("%s/%d: an object of the heap has become %q", kind, number, object)
		}
	}
	runtime.KeepAlive(objects)
	return nil
}

func compare(directory, kind string, number int, path []byte, way int) error {
	actual := kind
	if kind == redirected {
		actual = target
	}
	wanted := content(actual, number)
	switch way {
	case 0:
		return compareStatus(path, len(wanted))
	case 1:
		return compareRelative(filepath.Join(directory, kind), number, wanted)
	}
	return compareContent(unix.AT_FDCWD, path, wanted)
}

func compareStatus(path []byte, size int) error {
	var status unix.Stat_t
	_, _, number := unix.Syscall(
		unix.SYS_STAT, uintptr(unsafe.Pointer(&path[0])), uintptr(unsafe.Pointer(&status)), 0)
	if number != 0 {
		return fmt.Errorf("stat: %w", number)
	}
	if status.Size != int64(size) {
		return fmt.Errorf("stat: %d bytes instead of %d", status.Size, size)
	}
	return nil
}

// compareRelative opens the directory first.
func compareRelative(directory string, number int, wanted []byte) error {
	descriptor, err := unix.Open(directory, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	defer unix.Close(descriptor)
	return compareContent(descriptor, append([]byte("../"+filepath.Base(directory)+"/"), strconv.Itoa(number)+"\x00"...), wanted)
}

func compareContent(directory int, path, wanted []byte) error {
	descriptor, _, number := unix.Syscall6(
		unix.SYS_OPENAT, uintptr(directory), uintptr(unsafe.Pointer(&path[0])), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if number != 0 {
		return fmt.Errorf("openat: %w", number)
	}
	defer unix.Close(int(descriptor))
	read := make([]byte, len(wanted)+1)
	count, err := unix.Read(int(descriptor), read)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if !bytes.Equal(read[:count], wanted) {
		return fmt.Errorf("read: %d wrong bytes, wanted %d", count, len(wanted))
	}
	return nil
}
