package egress

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const patience = 10 * time.Second

// wanted is where the pods of these tests want to: a documentation address (RFC 5737).
var wanted = tcpip.FullAddress{NIC: linkNumber, Addr: tcpip.AddrFrom4([4]byte{203, 0, 113, 7}), Port: 4711}

// podBehind is a pod's own stack, whose packets a relay serves by a socket pair in place of a device.
func podBehind(t *testing.T, outside dial) (*stack.Stack, *relay) {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	relay, err := newRelay(os.NewFile(uintptr(ends[0]), "relay"), outside)
	if err != nil {
		t.Fatal(err)
	}
	return newPod(t, os.NewFile(uintptr(ends[1]), "pod")), relay
}

func newPod(t *testing.T, device *os.File) *stack.Stack {
	t.Helper()
	made := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	link := channel.New(queuedPackets, deviceMTU, "")
	if err := made.CreateNIC(linkNumber, link); err != nil {
		t.Fatal(err)
	}
	own := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: tcpip.AddressWithPrefix{
		Address: tcpip.AddrFrom4([4]byte{10, 42, 0, 5}), PrefixLen: 32,
	}}
	if err := made.AddProtocolAddress(linkNumber, own, stack.AddressProperties{}); err != nil {
		t.Fatal(err)
	}
	made.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: linkNumber}})
	ctx, cancel := context.WithCancel(context.Background())
	go pump(ctx, link, device)
	go inject(link, device)
	t.Cleanup(func() { cancel(); device.Close(); made.Destroy() })
	return made
}

func pump(ctx context.Context, link *channel.Endpoint, device *os.File) {
	for packet := link.ReadContext(ctx); packet != nil; packet = link.ReadContext(ctx) {
		_, _ = device.Write(packet.ToView().AsSlice())
		packet.DecRef()
	}
}

func inject(link *channel.Endpoint, device *os.File) {
	packet := make([]byte, 65536)
	for {
		size, err := device.Read(packet)
		if err != nil {
			return
		}
		arrived := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet[:size])})
		link.InjectInbound(header.IPv4ProtocolNumber, arrived)
		arrived.DecRef()
	}
}

// to is an outside that is one listener on loopback, and must be asked for the wanted address.
func to(t *testing.T, address net.Addr) dial {
	return func(network, asked string) (net.Conn, error) {
		if asked != "203.0.113.7:4711" {
			t.Errorf("asked for %s", asked)
		}
		return net.Dial(network, address.String())
	}
}

func listenTCP(t *testing.T) *net.TCPListener {
	t.Helper()
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

// connected is a connection as the pod and as the outside has it.
func connected(t *testing.T) (*gonet.TCPConn, *net.TCPConn, *relay) {
	t.Helper()
	listener := listenTCP(t)
	pod, relay := podBehind(t, to(t, listener.Addr()))
	near, err := gonet.DialTCP(pod, wanted, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	far, err := listener.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range []net.Conn{near, far} {
		if err := each.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far, relay
}

func TestBytesArriveWholeAndEachDirectionEndsByItself(t *testing.T) {
	near, far, relay := connected(t)
	defer relay.close()
	sent := make([]byte, 3<<20)
	_, _ = rand.Read(sent)
	go func() {
		_, _ = near.Write(sent)
		_ = near.CloseWrite()
	}()
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes of %d, %v", len(got), len(sent), err)
	}
	// The pod has said all; the other direction still works.
	go func() {
		_, _ = far.Write(sent)
		_ = far.CloseWrite()
	}()
	if got, err = io.ReadAll(near); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes of %d back, %v", len(got), len(sent), err)
	}
}

func TestAResetOfTheOutsideIsOneForThePod(t *testing.T) {
	near, far, relay := connected(t)
	defer relay.close()
	_ = far.SetLinger(0)
	far.Close()
	if _, err := near.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Fatalf("the pod reads %v", err)
	}
}

func TestTheOutsideIsToldWhenAPodGoes(t *testing.T) {
	_, far, relay := connected(t)
	relay.close()
	if _, err := far.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the outside reads %v", err)
	}
}

func TestWhatIsRefusedOutsideIsRefusedAtOnce(t *testing.T) {
	pod, relay := podBehind(t, func(string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED })
	defer relay.close()
	began := time.Now()
	if _, err := gonet.DialTCP(pod, wanted, ipv4.ProtocolNumber); err == nil {
		t.Fatal("connected")
	}
	if passed := time.Since(began); passed > patience/2 {
		t.Fatalf("only after %s", passed)
	}
}

func TestDatagramsFindTheirWayBack(t *testing.T) {
	server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	pod, relay := podBehind(t, to(t, server.LocalAddr()))
	defer relay.close()
	near, err := gonet.DialUDP(pod, nil, &wanted, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	_ = near.SetDeadline(time.Now().Add(patience))
	_ = server.SetDeadline(time.Now().Add(patience))
	// The second is larger than a packet.
	for _, sent := range [][]byte{[]byte("one"), bytes.Repeat([]byte("two"), 2000)} {
		if _, err := near.Write(sent); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 65536)
		size, from, err := server.ReadFrom(got)
		if err != nil || !bytes.Equal(got[:size], sent) {
			t.Fatalf("%d bytes of %d, %v", size, len(sent), err)
		}
		if _, err := server.WriteTo(got[:size], from); err != nil {
			t.Fatal(err)
		}
		if size, err = near.Read(got); err != nil || !bytes.Equal(got[:size], sent) {
			t.Fatalf("%d bytes of %d back, %v", size, len(sent), err)
		}
	}
}

func TestOnlyTCPAndUDPOverIPv4GoOutside(t *testing.T) {
	packet := make(header.IPv4, header.IPv4MinimumSize)
	for protocol, expected := range map[tcpip.TransportProtocolNumber]bool{
		header.ICMPv4ProtocolNumber: false, header.TCPProtocolNumber: true, header.UDPProtocolNumber: true,
	} {
		packet.Encode(&header.IPv4Fields{TotalLength: header.IPv4MinimumSize, Protocol: uint8(protocol)})
		if isForTheOutside(packet) != expected {
			t.Errorf("protocol %d", protocol)
		}
	}
	for _, packet := range [][]byte{nil, {0x45}, {0x60, 0, 0, 0}} {
		if isForTheOutside(packet) {
			t.Errorf("% x", packet)
		}
	}
}
