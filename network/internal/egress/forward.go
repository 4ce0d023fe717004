package egress

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// connectTime is as long as a pod's own kernel would try: 6 repetitions, Linux's tcp_syn_retries, take 127 s.
	connectTime = 127 * time.Second
	// idleTime ends a UDP association without a datagram, as the longer one of conntrack's two does.
	idleTime = 120 * time.Second
	// questionTime does it for a question to a DNS server: each comes from a port of its own, and nobody waits for an
	// answer longer than 5 s (resolv.conf(5), timeout).
	questionTime = 10 * time.Second
	dnsPort      = 53
	// datagramSize is the largest that IPv4 can carry.
	datagramSize = 65507
)

// fromHere connects from the sandbox's own network.
var fromHere dial = (&net.Dialer{Timeout: connectTime}).Dial

// forwardTCP connects to the outside first: what is refused there is refused in the pod, and at once.
func (outside dial) forwardTCP(request *tcp.ForwarderRequest) {
	far, err := outside("tcp4", destination(request.ID()))
	if err != nil {
		// A time-out is one for the pod as well: it hears nothing.
		request.Complete(!isTimeout(err))
		return
	}
	var queue waiter.Queue
	end, failure := request.CreateEndpoint(&queue)
	request.Complete(failure != nil)
	if failure != nil {
		far.Close()
		return
	}
	end.SocketOptions().SetKeepAlive(true)
	splice(gonet.NewTCPConn(&queue, end), end, far.(*net.TCPConn))
}

// splice carries bytes both ways until both have ended. An end of one direction is passed on; a failure ends both, by a
// reset as the one that it mostly comes from.
func splice(near *gonet.TCPConn, end tcpip.Endpoint, far *net.TCPConn) {
	var failed atomic.Bool
	fail := func() {
		failed.Store(true)
		_ = far.SetLinger(0)
		far.Close()
		end.Abort()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := io.Copy(far, near); err != nil || far.CloseWrite() != nil {
			fail()
		}
	}()
	if _, err := io.Copy(near, far); err != nil || near.CloseWrite() != nil {
		fail()
	}
	<-done
	if !failed.Load() {
		far.Close()
		near.Close()
	}
}

// forwardUDP makes an association for the first datagram between two addresses.
func (outside dial) forwardUDP(request *udp.ForwarderRequest) bool {
	far, err := outside("udp4", destination(request.ID()))
	if err != nil {
		return false // the stack tells the pod that the port is unreachable
	}
	var queue waiter.Queue
	end, failure := request.CreateEndpoint(&queue)
	if failure != nil {
		far.Close()
		return true
	}
	go associate(gonet.NewUDPConn(&queue, end), far, idleOf(request.ID().LocalPort))
	return true
}

// idleOf is how long an association with such a port may be without a datagram.
func idleOf(port uint16) time.Duration {
	if port == dnsPort {
		return questionTime
	}
	return idleTime
}

// associate carries datagrams both ways until none came for a time, or until one end fails.
func associate(near, far net.Conn, idle time.Duration) {
	var last atomic.Int64
	last.Store(time.Now().UnixNano())
	done := make(chan struct{}, 2)
	carry := func(to, from net.Conn) {
		defer func() { done <- struct{}{} }()
		buffer := make([]byte, datagramSize)
		for {
			_ = from.SetReadDeadline(time.Now().Add(idle))
			size, err := from.Read(buffer)
			if isTimeout(err) && time.Since(time.Unix(0, last.Load())) < idle {
				continue // the other direction is alive
			}
			if err != nil {
				return
			}
			last.Store(time.Now().UnixNano())
			if _, err := to.Write(buffer[:size]); err != nil && !errors.Is(err, syscall.EMSGSIZE) {
				return
			}
		}
	}
	go carry(far, near)
	go carry(near, far)
	<-done
	near.Close()
	far.Close()
	<-done
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}
