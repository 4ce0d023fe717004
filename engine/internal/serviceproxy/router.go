package serviceproxy

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"kins/engine/internal/intercept/rules"
)

const (
	// dialTimeout bounds one attempt: an endpoint whose pod is gone but still listed does not answer at all.
	dialTimeout = 5 * time.Second
	// attempts is how many endpoints are tried for one connection.
	attempts = 3
	// longestChain is how many addresses of ours may lead to one another, the first included.
	longestChain = 4
)

var errNoEndpoint = errors.New("no endpoint")

// router leads connections to endpoints. An endpoint that is an address of ours (a published port leads to a node
// port, the `kubernetes` Service to the API server's address) is replaced by one from its own pool, so that no
// connection passes through here twice and affinity sees the true client.
type router struct {
	serving sync.Map // address: *pool, of every address that a socket of ours answers now
	local   []netip.Addr
	copier  copier
	// network leads from addresses to those that sockets have, where the two are not the same.
	network rules.Addresses
}

// socket is the address of a socket for one of the cluster.
func (r *router) socket(where netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(r.network.Lead(where.Addr()), where.Port())
}

// source is where a connection to a socket must come from, if that matters.
func (r *router) source(to netip.AddrPort) (netip.AddrPort, bool) {
	from, needed := r.network.SourceOf(to.Addr())
	return netip.AddrPortFrom(from, 0), needed
}

// endpoint chooses where a client's connection goes.
func (r *router) endpoint(
	protocol corev1.Protocol, from *pool, client netip.Addr, tried []netip.AddrPort,
) (netip.AddrPort, error) {
	for range longestChain {
		chosen, found := from.pick(client, tried)
		if !found {
			return netip.AddrPort{}, errNoEndpoint
		}
		next, ours := r.serving.Load(address{protocol, chosen})
		switch {
		case ours:
			from = next.(*pool)
		case slices.Contains(r.local, chosen.Addr()) && r.hasEveryAddress(protocol, chosen.Port()):
			return netip.AddrPort{}, errNoEndpoint // a connection there would come back here
		default:
			return chosen, nil
		}
	}
	return netip.AddrPort{}, errors.New("Services lead to one another in a circle")
}

// hasEveryAddress tells whether a socket of ours on the wildcard address has a port: then it has that of any address.
func (r *router) hasEveryAddress(protocol corev1.Protocol, port uint16) bool {
	_, has := r.serving.Load(address{protocol, netip.AddrPortFrom(netip.IPv4Unspecified(), port)})
	return has
}

// leadsTo tells whether a connection from this pool may still go to an endpoint.
func (r *router) leadsTo(protocol corev1.Protocol, from *pool, endpoint netip.AddrPort, remaining int) bool {
	if from.holds(endpoint) {
		return true
	}
	if remaining == 0 {
		return false
	}
	for _, each := range from.all() {
		if next, ours := r.serving.Load(address{protocol, each}); ours {
			if r.leadsTo(protocol, next.(*pool), endpoint, remaining-1) {
				return true
			}
		}
	}
	return false
}

// dial connects to an endpoint for a client, to another one when the first does not answer.
func (r *router) dial(from *pool, client netip.Addr) (*net.TCPConn, error) {
	var tried []netip.AddrPort
	var failures error
	for range attempts {
		chosen, err := r.endpoint(corev1.ProtocolTCP, from, client, tried)
		if err != nil {
			return nil, errors.Join(failures, err)
		}
		to := r.socket(chosen)
		dialer := net.Dialer{Timeout: dialTimeout}
		if from, needed := r.source(to); needed {
			dialer.LocalAddr, dialer.Control = net.TCPAddrFromAddrPort(from), withoutPort
		}
		connection, err := dialer.Dial("tcp4", to.String())
		if err == nil {
			return connection.(*net.TCPConn), nil
		}
		tried, failures = append(tried, chosen), errors.Join(failures, err)
	}
	return nil, failures
}

// withoutPort has the kernel choose a port when it knows where the connection goes, so that there are enough of them for
// each endpoint (ip(7)). A kernel that does not know it chooses earlier.
func withoutPort(_, _ string, connection syscall.RawConn) error {
	return connection.Control(func(descriptor uintptr) {
		_ = unix.SetsockoptInt(int(descriptor), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
}
