// Package serviceproxy answers on the addresses of Services in user space: cluster IPs, node ports, external IPs, load
// balancers' addresses, pods' host ports and published ports. One socket listens for each address as long as there is
// an endpoint behind it, and every connection is relayed to one of the endpoints.
//
// It needs nothing of the kernel but sockets: gVisor's iptables run no mode of kube-proxy. The addresses must be local
// already (an address of the whole range on lo); nothing of the network is changed here.
package serviceproxy

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
)

// address is where clients connect.
type address struct {
	protocol corev1.Protocol
	netip.AddrPort
}

// String is `TCP 10.43.0.1:443`.
func (a address) String() string { return fmt.Sprintf("%s %s", a.protocol, a.AddrPort) }

// at is the address of a port on an IP.
func at(protocol corev1.Protocol, ip netip.Addr, port int32) address {
	return address{protocol, netip.AddrPortFrom(ip, uint16(port))}
}

// parseIPv4 is false for what is no IPv4 address: IPv6, "None", nothing.
func parseIPv4(text string) (netip.Addr, bool) {
	ip, err := netip.ParseAddr(text)
	return ip, err == nil && ip.Is4()
}
