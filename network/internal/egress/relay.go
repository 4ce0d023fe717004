package egress

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const (
	// linkNumber is that of the only link of a stack.
	linkNumber = 1
	// deviceMTU is a tun's when nobody sets another one.
	deviceMTU = 1500
	// queuedPackets may wait to be written to a device; what comes then is lost, as on any network.
	queuedPackets = 1024
	// pendingConnections is how many of a pod may wait for the outside at a time.
	pendingConnections = 1024
)

// dial connects to the outside.
type dial func(network, address string) (net.Conn, error)

// relay is the other end of one pod's device: a stack that takes every address for its own.
type relay struct {
	device *os.File
	link   *channel.Endpoint
	stack  *stack.Stack
	cancel context.CancelFunc
}

// newRelay serves a device that gives and takes a packet in each read and write, until it is closed.
func newRelay(device *os.File, outside dial) (*relay, error) {
	made := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	// (fdbased, which serves descriptors itself, leaves one of its own open for each that it has served.)
	link := channel.New(queuedPackets, deviceMTU, "")
	if err := prepare(made, link); err != nil {
		made.Destroy()
		return nil, err
	}
	forwardsTCP := tcp.NewForwarder(made, 0, pendingConnections, outside.forwardTCP)
	made.SetTransportProtocolHandler(tcp.ProtocolNumber, forwardsTCP.HandlePacket)
	made.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(made, outside.forwardUDP).HandlePacket)
	ctx, cancel := context.WithCancel(context.Background())
	serving := &relay{device, link, made, cancel}
	go serving.read()
	go serving.write(ctx)
	return serving, nil
}

func prepare(made *stack.Stack, link stack.LinkEndpoint) error {
	selective := tcpip.TCPSACKEnabled(true)
	steps := []struct {
		what string
		take func() tcpip.Error
	}{
		{"selective acknowledgement", func() tcpip.Error {
			return made.SetTransportProtocolOption(tcp.ProtocolNumber, &selective)
		}},
		{"the link", func() tcpip.Error { return made.CreateNIC(linkNumber, link) }},
		// Packets to any address are ours, and we answer as any.
		{"all addresses", func() tcpip.Error { return made.SetPromiscuousMode(linkNumber, true) }},
		{"answers from all addresses", func() tcpip.Error { return made.SetSpoofing(linkNumber, true) }},
	}
	for _, step := range steps {
		if err := step.take(); err != nil {
			return fmt.Errorf("stack for a pod: %s: %s", step.what, err)
		}
	}
	made.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: linkNumber}})
	return nil
}

// read hands the pod's packets to the stack.
func (r *relay) read() {
	packet := make([]byte, deviceMTU)
	for {
		size, err := r.device.Read(packet)
		if err != nil {
			return
		}
		if isForTheOutside(packet[:size]) {
			arrived := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet[:size])})
			r.link.InjectInbound(header.IPv4ProtocolNumber, arrived)
			arrived.DecRef()
		}
	}
}

// isForTheOutside leaves out IPv6, and ICMP: a stack that takes every address for its own would answer each ping itself.
func isForTheOutside(packet []byte) bool {
	read := header.IPv4(packet)
	return header.IPVersion(packet) == header.IPv4Version && len(packet) >= header.IPv4MinimumSize &&
		read.TransportProtocol() != header.ICMPv4ProtocolNumber
}

// write hands the stack's packets to the pod.
func (r *relay) write(ctx context.Context) {
	for {
		packet := r.link.ReadContext(ctx)
		if packet == nil {
			return
		}
		view := packet.ToView()
		// A packet that the pod does not take, because its link is down, is lost.
		_, _ = r.device.Write(view.AsSlice())
		view.Release()
		packet.DecRef()
	}
}

// close ends the connections, whose other ends see that, and the device.
func (r *relay) close() {
	r.cancel()
	r.stack.Destroy()
	r.device.Close()
}

// destination is where the pod wants to: local to the stack that stands in for it.
func destination(id stack.TransportEndpointID) string {
	return net.JoinHostPort(id.LocalAddress.String(), strconv.Itoa(int(id.LocalPort)))
}
