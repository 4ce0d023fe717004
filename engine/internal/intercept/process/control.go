//go:build linux && amd64

package process

import (
	"encoding/binary"
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// kind is the first byte of a message between front and tracer.
type kind byte

const (
	// From the tracer: the program has ended (wait status), was stopped by job control (signal), or could not be
	// started (text).
	ended   kind = 'E'
	stopped kind = 'S'
	failed  kind = 'F'
	// From the tracer: the program is about to run.
	started kind = 'R'
	// From the front: send this signal to the program. Above the signal's number is that of the stops that it knows of.
	signalled kind = 'K'
)

const signalBits = 8

// message is one byte of kind, the number, the text's length and the text.
type message struct {
	kind   kind
	number uint32
	text   string
}

const headerSize = 9

// control is one end of the socket between front and tracer. Plain blocking calls: the descriptor stays the only one
// that the tracer needs.
type control int

func (end control) send(sent message) error {
	packet := make([]byte, headerSize, headerSize+len(sent.text))
	packet[0] = byte(sent.kind)
	binary.LittleEndian.PutUint32(packet[1:], sent.number)
	binary.LittleEndian.PutUint32(packet[5:], uint32(len(sent.text)))
	packet = append(packet, sent.text...)
	for len(packet) > 0 {
		// MSG_NOSIGNAL: the other end may have been killed.
		count, err := unix.SendmsgN(int(end), packet, nil, nil, unix.MSG_NOSIGNAL)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		packet = packet[count:]
	}
	return nil
}

// receive waits for the next message; io.EOF when the other process has ended.
func (end control) receive() (message, error) {
	var header [headerSize]byte
	if err := end.fill(header[:]); err != nil {
		return message{}, err
	}
	text := make([]byte, binary.LittleEndian.Uint32(header[5:]))
	if err := end.fill(text); err != nil {
		return message{}, err
	}
	return message{kind(header[0]), binary.LittleEndian.Uint32(header[1:]), string(text)}, nil
}

func (end control) fill(buffer []byte) error {
	for len(buffer) > 0 {
		count, err := unix.Read(int(end), buffer)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if count == 0 {
			return io.EOF
		}
		buffer = buffer[count:]
	}
	return nil
}
