package serviceproxy

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
)

// How long an association lives without a datagram, as the kernel's own tracking of connections has it
// (nf_conntrack_udp_timeout and nf_conntrack_udp_timeout_stream): short while it looks like a question and its answer.
const (
	flowTimeout   = 30 * time.Second
	streamTimeout = 120 * time.Second
	// flowLimit is how many associations one address may have. Each is a descriptor, and a flood of datagrams from ever
	// new ports must not take those of all other Services.
	flowLimit = 4096
)

var errTooManyFlows = errors.New("too many associations")

// udpServer receives datagrams on one address. A client's datagrams go to one endpoint for as long as they come.
//
// The socket is bound to the address itself: one on the wildcard address would answer from another.
type udpServer struct {
	router *router
	socket *net.UDPConn
	pool   atomic.Pointer[pool]
	mutex  sync.Mutex
	flows  map[netip.AddrPort]*flow
}

// flow is the association of a client with an endpoint.
type flow struct {
	client   netip.AddrPort
	endpoint netip.AddrPort
	backend  *net.UDPConn
	used     atomic.Int64 // seconds since 1970
	sent     atomic.Int64 // datagrams of the client, up to the few that make a stream
	answered atomic.Bool
}

func listenUDP(router *router, where netip.AddrPort, from *pool) (*udpServer, error) {
	socket, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(router.socket(where)))
	if err != nil {
		return nil, err
	}
	server := &udpServer{router: router, socket: socket, flows: map[netip.AddrPort]*flow{}}
	server.pool.Store(from)
	go server.receive()
	return server, nil
}

func (s *udpServer) use(from *pool) { s.pool.Store(from) }

func (s *udpServer) close() {
	s.socket.Close()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, each := range s.flows {
		each.backend.Close()
	}
	s.flows = nil
}

// sweep ends the associations that are idle or whose endpoint may no longer be used.
func (s *udpServer) sweep(now time.Time) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for client, each := range s.flows {
		if each.isOver(now) || !s.router.leadsTo(corev1.ProtocolUDP, s.pool.Load(), each.endpoint, longestChain) {
			each.backend.Close()
			delete(s.flows, client)
		}
	}
}

func (f *flow) isOver(now time.Time) bool {
	timeout := flowTimeout
	if f.answered.Load() && f.sent.Load() > 1 {
		timeout = streamTimeout
	}
	return now.Sub(time.Unix(f.used.Load(), 0)) > timeout
}

func (f *flow) touch() { f.used.Store(time.Now().Unix()) }

func (s *udpServer) receive() {
	for {
		err := receiveEach(s.socket, func(data []byte, client netip.AddrPort) { s.send(data, client) })
		if errors.Is(err, net.ErrClosed) {
			return
		}
		klog.V(1).InfoS("Cannot receive a datagram", "address", s.socket.LocalAddr(), "err", err)
		time.Sleep(acceptPause)
	}
}

// send passes a client's datagram on. What cannot be sent is lost, as datagrams are.
func (s *udpServer) send(data []byte, client netip.AddrPort) {
	association, err := s.flow(client)
	if err != nil {
		klog.V(1).InfoS("No endpoint for a datagram", "address", s.socket.LocalAddr(), "client", client, "err", err)
		return
	}
	association.touch()
	association.sent.Add(1)
	_, _ = association.backend.Write(data)
}

// flow finds or makes the association of a client.
func (s *udpServer) flow(client netip.AddrPort) (*flow, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if known := s.flows[client]; known != nil {
		return known, nil
	}
	if s.flows == nil {
		return nil, net.ErrClosed
	}
	if len(s.flows) >= flowLimit {
		return nil, errTooManyFlows
	}
	chosen, err := s.router.endpoint(corev1.ProtocolUDP, s.pool.Load(), client.Addr(), nil)
	if err != nil {
		return nil, err
	}
	to := s.router.socket(chosen)
	var from *net.UDPAddr
	if source, needed := s.router.source(to); needed {
		from = net.UDPAddrFromAddrPort(source)
	}
	backend, err := net.DialUDP("udp4", from, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, err
	}
	made := &flow{client: client, endpoint: chosen, backend: backend}
	made.touch()
	s.flows[client] = made
	go s.answer(made)
	return made, nil
}

// answer passes an endpoint's datagrams back until the association ends: by sweep, or because nobody listens there
// (ECONNREFUSED), so that the client's next datagram is given to another endpoint.
func (s *udpServer) answer(association *flow) {
	_ = receiveEach(association.backend, func(data []byte, _ netip.AddrPort) {
		association.touch()
		association.answered.Store(true)
		_, _ = s.socket.WriteToUDPAddrPort(data, association.client)
	})
	association.backend.Close()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.flows[association.client] == association {
		delete(s.flows, association.client)
	}
}

// receiveEach calls the action for each datagram, until an error. Between datagrams it holds no buffer: there may be
// thousands of sockets.
func receiveEach(socket *net.UDPConn, action func([]byte, netip.AddrPort)) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	for {
		err := borrowing(raw, func(descriptor int, chunk *[chunkSize]byte) (bool, error) {
			var from unix.Sockaddr
			count, again, err := retried(func() (count int, err error) {
				count, from, err = unix.Recvfrom(descriptor, chunk[:], 0)
				return count, err
			})
			if again || err != nil {
				return !again, err
			}
			action(chunk[:count], sender(from))
			return true, nil
		})
		if err != nil {
			return err
		}
	}
}

func sender(from unix.Sockaddr) netip.AddrPort {
	ip, _ := from.(*unix.SockaddrInet4)
	if ip == nil {
		return netip.AddrPort{} // of a connected socket the kernel need not say it
	}
	return netip.AddrPortFrom(netip.AddrFrom4(ip.Addr), uint16(ip.Port))
}
