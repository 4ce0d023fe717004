package serviceproxy

import (
	"net"
	"testing"
	"time"
)

func TestDatagramsOfAClientGoToOneEndpointAndComeBackFromTheService(t *testing.T) {
	p := newProxied(t)
	one, two := datagrams(t, "127.42.0.1", "one"), datagrams(t, "127.42.0.2", "two")
	p.serve(service("dns", clusterIP, "UDP", 28080), ready(one, two)...)
	found := map[string]int{}
	for range 4 {
		// A connected socket takes no datagram that comes from another address than it asked.
		socket := client(t, where)
		first := exchange(t, socket, "x")
		if again := exchange(t, socket, "x"); again != first {
			t.Fatalf("%q, then %q", first, again)
		}
		found[first]++
	}
	if found["one x"] != 2 || found["two x"] != 2 {
		t.Fatalf("%v", found)
	}
}

func TestLargeDatagramsAreWhole(t *testing.T) {
	p := newProxied(t)
	p.serve(service("dns", clusterIP, "UDP", 28080), ready(datagrams(t, "127.42.0.1", "one"))...)
	text := string(make([]byte, 60000))
	if answer := exchange(t, client(t, where), text); answer != "one "+text {
		t.Fatalf("%d bytes", len(answer))
	}
}

func TestAssociationsWithARemovedEndpointEnd(t *testing.T) {
	p := newProxied(t)
	one, two := datagrams(t, "127.42.0.1", "one"), datagrams(t, "127.42.0.2", "two")
	dns := service("dns", clusterIP, "UDP", 28080)
	p.serve(dns, ready(one)...)
	socket := client(t, where)
	exchange(t, socket, "x")
	p.serve(dns, ready(two)...)
	if answer := exchange(t, socket, "x"); answer != "two x" {
		t.Fatal(answer)
	}
}

func TestWithoutEndpointsDatagramsAreRefused(t *testing.T) {
	p := newProxied(t)
	p.serve(service("dns", clusterIP, "UDP", 28080))
	socket := client(t, where)
	_ = socket.SetDeadline(time.Now().Add(patience))
	_, _ = socket.Write([]byte("x"))
	if _, err := socket.Read(make([]byte, 1)); err == nil || err.(net.Error).Timeout() {
		t.Fatalf("%v", err)
	}
}

func TestIdleAssociationsEnd(t *testing.T) {
	p := newProxied(t)
	p.serve(service("dns", clusterIP, "UDP", 28080), ready(datagrams(t, "127.42.0.1", "one"))...)
	asked, stream := client(t, where), client(t, where)
	exchange(t, asked, "x")
	exchange(t, stream, "x")
	exchange(t, stream, "x")
	server := p.table.fronts[address{"UDP", addrPort(clusterIP, 28080)}].server.(*udpServer)
	for _, step := range []struct {
		after time.Duration
		left  int
	}{{0, 2}, {flowTimeout + 2*time.Second, 1}, {streamTimeout + 2*time.Second, 0}} {
		p.table.sweep(time.Now().Add(step.after))
		server.mutex.Lock()
		left := len(server.flows)
		server.mutex.Unlock()
		if left != step.left {
			t.Fatalf("%d are left after %s", left, step.after)
		}
	}
}
