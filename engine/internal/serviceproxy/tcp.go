package serviceproxy

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"k8s.io/klog/v2"
)

// acceptPause is the wait after a failed accept(2), as when there are no more descriptors.
const acceptPause = 50 * time.Millisecond

// tcpServer accepts connections on one address. Those that it has accepted live on when it is closed.
type tcpServer struct {
	router   *router
	listener *net.TCPListener
	pool     atomic.Pointer[pool]
}

func listenTCP(router *router, where netip.AddrPort, from *pool) (*tcpServer, error) {
	listener, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(router.socket(where)))
	if err != nil {
		return nil, err
	}
	server := &tcpServer{router: router, listener: listener}
	server.pool.Store(from)
	go server.accept()
	return server, nil
}

func (s *tcpServer) use(from *pool) { s.pool.Store(from) }

func (s *tcpServer) close() { s.listener.Close() }

// sweep has nothing to do: a connection to an endpoint that is no longer listed ends when one of its ends says so.
func (s *tcpServer) sweep(time.Time) {}

func (s *tcpServer) accept() {
	for {
		client, err := s.listener.AcceptTCP()
		switch {
		case err == nil:
			go s.serve(client)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			klog.ErrorS(err, "Cannot accept a connection", "address", s.listener.Addr())
			time.Sleep(acceptPause)
		}
	}
}

func (s *tcpServer) serve(client *net.TCPConn) {
	from := client.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	backend, err := s.router.dial(s.pool.Load(), from)
	if err != nil {
		klog.V(1).InfoS("No endpoint answers", "address", s.listener.Addr(), "client", from, "err", err)
		reset(client)
		return
	}
	relay(client, backend, s.router.copier)
}

// reset closes a connection so that its other end sees a failure and no orderly end.
func reset(connection *net.TCPConn) {
	_ = connection.SetLinger(0)
	connection.Close()
}
