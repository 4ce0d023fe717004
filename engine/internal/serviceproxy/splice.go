package serviceproxy

import (
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// sparePipes is how many empty pipes are kept for the next chunk.
const sparePipes = 64

// pipe carries bytes between two sockets inside the kernel (splice(2)). Only empty ones are kept.
type pipe struct{ read, write int }

var pipes = make(chan pipe, sparePipes)

// canSplice tells, by trying it with two sockets, whether bytes can go through a pipe.
func canSplice() bool {
	sockets, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(sockets[0])
	defer unix.Close(sockets[1])
	between, err := newPipe()
	if err != nil {
		return false
	}
	defer between.close()
	if _, err := unix.Write(sockets[0], []byte("x")); err != nil {
		return false
	}
	moved, err := unix.Splice(sockets[1], nil, between.write, nil, 1, unix.SPLICE_F_NONBLOCK)
	return err == nil && moved == 1
}

func newPipe() (pipe, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return pipe{}, err
	}
	// The usual 64 KiB do as well where more is refused.
	_, _ = unix.FcntlInt(uintptr(ends[0]), unix.F_SETPIPE_SZ, chunkSize)
	return pipe{ends[0], ends[1]}, nil
}

func borrowPipe() (pipe, error) {
	select {
	case spare := <-pipes:
		return spare, nil
	default:
		return newPipe()
	}
}

func (p pipe) giveBack() {
	select {
	case pipes <- p:
	default:
		p.close()
	}
}

func (p pipe) close() {
	unix.Close(p.read)
	unix.Close(p.write)
}

// throughPipe is the copier whose bytes stay in the kernel.
func throughPipe(target, source syscall.RawConn) error {
	between, count, err := fill(source)
	if err != nil {
		return err
	}
	if err := drain(target, between, count); err != nil {
		between.close()
		return err
	}
	between.giveBack()
	return nil
}

// fill waits until a socket can be read, and takes a pipe only then.
func fill(source syscall.RawConn) (between pipe, count int, failure error) {
	err := source.Read(func(descriptor uintptr) bool {
		if between, failure = borrowPipe(); failure != nil {
			return true
		}
		var again bool
		count, again, failure = retried(func() (int, error) {
			moved, err := unix.Splice(int(descriptor), nil, between.write, nil, chunkSize, unix.SPLICE_F_NONBLOCK)
			return int(moved), err
		})
		if again || count <= 0 {
			between.giveBack() // nothing is in it: splice(2) says -1 with an error
		}
		return !again
	})
	switch {
	case err != nil:
		return between, 0, err
	case failure == nil && count == 0:
		return between, 0, io.EOF
	}
	return between, count, failure
}

// drain writes what is in a pipe.
func drain(target syscall.RawConn, between pipe, count int) error {
	var failure error
	err := target.Write(func(descriptor uintptr) bool {
		for count > 0 {
			moved, again, err := retried(func() (int, error) {
				moved, err := unix.Splice(between.read, nil, int(descriptor), nil, count, unix.SPLICE_F_NONBLOCK)
				return int(moved), err
			})
			if again {
				return false
			}
			if err != nil {
				failure = err
				return true
			}
			count -= moved
		}
		return true
	})
	if err != nil {
		return err
	}
	return failure
}
