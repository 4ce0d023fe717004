package egress

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// answerTime is what the process outside may take besides connecting.
	answerTime = 5 * time.Second
	// breath is the pause after a connection that could not be accepted.
	breath = time.Second
)

// outside is the socket of a process in another network namespace, which gives away sockets of that namespace
// (src/kins/network/outside.py). They are used here like our own.
type outside string

// dial connects from there.
func (o outside) dial(network, address string) (net.Conn, error) {
	file, err := o.ask(network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	defer file.Close()
	return net.FileConn(file)
}

// listen accepts connections there.
func (o outside) listen(address string) (net.Listener, error) {
	file, err := o.ask("listen", address)
	if err != nil {
		return nil, fmt.Errorf("listening on %s outside: %w", address, err)
	}
	defer file.Close()
	return net.FileListener(file)
}

// ask is one request: a kind of socket and an address, in a line. The answer is "ok" and the socket, or "error " and a
// number of errno(3), in a line.
func (o outside) ask(kind, address string) (*os.File, error) {
	connection, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: string(o), Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(connectTime + answerTime))
	if _, err := fmt.Fprintf(connection, "%s %s\n", kind, address); err != nil {
		return nil, err
	}
	answer, rights := make([]byte, 64), make([]byte, unix.CmsgSpace(4))
	size, rightsSize, _, _, err := connection.ReadMsgUnix(answer, rights)
	if err != nil {
		return nil, err
	}
	said := strings.TrimSpace(string(answer[:size]))
	if number, failed := strings.CutPrefix(said, "error "); failed {
		code, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("not an answer: %q", said)
		}
		return nil, syscall.Errno(code)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:rightsSize])
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("an answer without a socket: %q", said)
	}
	descriptors, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(descriptors) != 1 {
		return nil, fmt.Errorf("an answer without one socket: %q", said)
	}
	unix.CloseOnExec(descriptors[0])
	return os.NewFile(uintptr(descriptors[0]), address), nil
}

// entrance is a TCP port outside that leads to an address here.
type entrance struct {
	from, to string
}

// parseEntrance reads ADDRESS:PORT=ADDRESS:PORT.
func parseEntrance(text string) (entrance, error) {
	from, to, _ := strings.Cut(text, "=")
	for _, each := range []string{from, to} {
		if _, err := netip.ParseAddrPort(each); err != nil {
			return entrance{}, err
		}
	}
	return entrance{from, to}, nil
}

// open listens outside and serves until the process ends.
func (e entrance) open(place outside) error {
	listener, err := place.listen(e.from)
	if err != nil {
		return err
	}
	go func() {
		for {
			far, err := listener.Accept()
			if err != nil {
				// No more files may be open just now: the way in stays.
				log.Printf("%s: %v", e.from, err)
				time.Sleep(breath)
				continue
			}
			go e.serve(far.(*net.TCPConn))
		}
	}()
	return nil
}

func (e entrance) serve(far *net.TCPConn) {
	near, err := fromHere("tcp4", e.to)
	if err != nil {
		reset(far)
		return
	}
	join(near.(*net.TCPConn), far)
}

// join carries bytes both ways until both have ended; a failure ends both by a reset.
func join(one, other *net.TCPConn) {
	done := make(chan error, 2)
	carry := func(to, from *net.TCPConn) {
		_, err := io.Copy(to, from)
		if err = errors.Join(err, to.CloseWrite()); err != nil {
			reset(one)
			reset(other)
		}
		done <- err
	}
	go carry(one, other)
	go carry(other, one)
	if errors.Join(<-done, <-done) == nil {
		one.Close()
		other.Close()
	}
}

func reset(connection *net.TCPConn) {
	_ = connection.SetLinger(0)
	connection.Close()
}

// except connects to these ranges from our own network. (A kernel that forwards nothing takes a pod's packet for one of
// the node's addresses only on the link that has it: gVisor, whose forwarding cannot be set for a new namespace.)
func (outside dial) except(here []netip.Prefix) dial {
	return func(network, address string) (net.Conn, error) {
		wanted, err := netip.ParseAddrPort(address)
		for _, each := range here {
			if err == nil && each.Contains(wanted.Addr()) {
				return fromHere(network, address)
			}
		}
		return outside(network, address)
	}
}

// translated dials what `inside` stands for, when it is an address of that range: the one at the same place of
// `loopback`.
func (outside dial) translated(inside, loopback netip.Prefix) dial {
	return func(network, address string) (net.Conn, error) {
		wanted, err := netip.ParseAddrPort(address)
		if err == nil && inside.Contains(wanted.Addr()) {
			bytes := wanted.Addr().As4()
			copy(bytes[:loopback.Bits()/8], loopback.Addr().AsSlice())
			address = netip.AddrPortFrom(netip.AddrFrom4(bytes), wanted.Port()).String()
		}
		return outside(network, address)
	}
}
