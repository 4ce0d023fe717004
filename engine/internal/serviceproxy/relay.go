package serviceproxy

import (
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// relay moves bytes between two connections until both directions have ended, and closes both. The end of one
// direction is passed on as the end of that direction alone; a failure of one connection resets the other.
//
// What one side does not take stays in its socket buffer and in the little that is underway here, and the other side is
// read no further: a slow reader slows its sender.
func relay(client, backend *net.TCPConn, by copier) {
	done := make(chan struct{})
	go func() {
		pass(client, backend, by)
		close(done)
	}()
	pass(backend, client, by)
	<-done
	client.Close()
	backend.Close()
}

// pass moves bytes in one direction until its end. A failure ends both directions.
func pass(to, from *net.TCPConn, by copier) {
	err := move(to, from, by)
	if err == nil {
		err = to.CloseWrite()
	}
	if err != nil {
		reset(to)
		reset(from)
	}
}

// move copies from one connection to the other until the end of the stream. While there is nothing to copy it holds
// neither a buffer nor a pipe, so that idle connections cost two descriptors and two goroutines.
func move(to, from *net.TCPConn, by copier) error {
	source, err := from.SyscallConn()
	if err != nil {
		return err
	}
	target, err := to.SyscallConn()
	if err != nil {
		return err
	}
	for {
		if err := by(target, source); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}

// copier waits until there is something to read, and copies it. io.EOF is the end of the stream.
type copier func(target, source syscall.RawConn) error

// newCopier is the best one that the kernel has.
func newCopier() copier {
	if canSplice() {
		return throughPipe
	}
	return throughBuffer
}

// chunkSize is the most that is underway in one direction: large enough that the calls cost little beside the bytes.
const chunkSize = 256 << 10

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// throughBuffer is the copier that needs nothing but read(2) and write(2).
func throughBuffer(target, source syscall.RawConn) error {
	return borrowing(source, func(descriptor int, chunk *[chunkSize]byte) (bool, error) {
		count, again, err := retried(func() (int, error) { return unix.Read(descriptor, chunk[:]) })
		switch {
		case again:
			return false, nil
		case err != nil:
			return true, err
		case count == 0:
			return true, io.EOF
		}
		return true, writeAll(target, chunk[:count])
	})
}

// borrowing waits until a socket can be read, with a chunk of memory only while there is something to read. The action
// says whether it is done.
func borrowing(source syscall.RawConn, action func(int, *[chunkSize]byte) (bool, error)) error {
	var failure error
	err := source.Read(func(descriptor uintptr) bool {
		chunk := chunks.Get().(*[chunkSize]byte)
		defer chunks.Put(chunk)
		var done bool
		done, failure = action(int(descriptor), chunk)
		return done
	})
	if err != nil {
		return err
	}
	return failure
}

func writeAll(target syscall.RawConn, data []byte) error {
	var failure error
	err := target.Write(func(descriptor uintptr) bool {
		for len(data) > 0 {
			count, again, err := retried(func() (int, error) { return unix.Write(int(descriptor), data) })
			if again {
				return false
			}
			if err != nil {
				failure = err
				return true
			}
			data = data[count:]
		}
		return true
	})
	if err != nil {
		return err
	}
	return failure
}

// retried makes a call on a non-blocking descriptor; `again` says that it must be waited for.
func retried(call func() (int, error)) (count int, again bool, err error) {
	for {
		count, err = call()
		switch err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return 0, true, nil
		}
		return count, false, err
	}
}
