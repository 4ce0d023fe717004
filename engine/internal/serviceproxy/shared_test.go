package serviceproxy

import (
	"io"
	"net"
	"net/netip"
	"testing"

	"kins/engine/internal/intercept/rules"
)

// TestAddressesLeadToLoopback has a cluster whose addresses the machine does not know, as where pods share a network.
func TestAddressesLeadToLoopback(t *testing.T) {
	set, err := rules.Parse([]byte(`{"version": 1, "rules": [
		{"address": {"from": "10.42.0.0/16", "to": "127.42.0.0/16"}},
		{"address": {"from": "10.43.0.0/16", "to": "127.43.0.0/16"}}, {"source": {"address": "127.42.0.1"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	p := newProxied(t)
	p.table.router.network = set.Addresses
	stream := backend(t, "127.42.8.1", func(connection *net.TCPConn) {
		defer connection.Close()
		_, _ = io.WriteString(connection, connection.RemoteAddr().(*net.TCPAddr).IP.String())
	})
	datagram := datagrams(t, "127.42.8.1", "one")
	known := netip.MustParseAddr("10.42.8.1")
	p.serve(service("web", "10.43.8.1", "TCP", 28080), ready(netip.AddrPortFrom(known, stream.Port()))...)
	p.serve(service("dns", "10.43.8.2", "UDP", 28080), ready(netip.AddrPortFrom(known, datagram.Port()))...)
	if client := asks(t, "127.43.8.1:28080"); client != "127.42.0.1" {
		t.Errorf("the endpoint was asked by %s", client)
	}
	if answer := exchange(t, client(t, "127.43.8.2:28080"), "x"); answer != "one x" {
		t.Errorf("the endpoint answered %q", answer)
	}
}
