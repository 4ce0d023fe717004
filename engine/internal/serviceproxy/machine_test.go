package serviceproxy

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// patience is far more than anything here takes.
const patience = 10 * time.Second

// proxied is a node whose Services have addresses on loopback (all of 127.0.0.0/8 is local), with real sockets.
type proxied struct {
	t     *testing.T
	node  node
	table *table
}

func newProxied(t *testing.T) *proxied {
	p := &proxied{t: t}
	p.node = node{
		name:              "here",
		addresses:         []netip.Addr{netip.MustParseAddr("127.77.0.1")},
		serviceRange:      netip.MustParsePrefix("127.43.0.0/16"),
		loadBalancerRange: netip.MustParsePrefix("127.44.0.0/16"),
	}
	p.table = newTable(p.node.addresses)
	t.Cleanup(func() {
		for name := range p.table.owners {
			p.table.set(owner{name: name}, nil)
		}
	})
	return p
}

// serve makes the proxy know a Service with these slices.
func (p *proxied) serve(service *corev1.Service, endpoints ...*discoveryv1.EndpointSlice) {
	p.table.set(owner{name: service.Name, since: service.CreationTimestamp.Time}, p.node.serviceWishes(service, endpoints))
}

// service is a Service with a cluster IP and one port.
func service(name, clusterIP string, protocol corev1.Protocol, port int32) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "test"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: clusterIP, ClusterIPs: []string{clusterIP},
			Ports: []corev1.ServicePort{{
				Name: "main", Protocol: protocol, Port: port, TargetPort: intstr.FromString("main"),
			}},
		},
	}
}

// ready is a slice with these endpoints, all on one port, and all ready.
func ready(endpoints ...netip.AddrPort) []*discoveryv1.EndpointSlice {
	var slices []*discoveryv1.EndpointSlice
	for _, each := range endpoints {
		slices = append(slices, slice(each, discoveryv1.EndpointConditions{}))
	}
	return slices
}

// slice is a slice with one endpoint.
func slice(endpoint netip.AddrPort, conditions discoveryv1.EndpointConditions) *discoveryv1.EndpointSlice {
	name, here, port := "main", "here", int32(endpoint.Port())
	found := &discoveryv1.EndpointSlice{
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{endpoint.Addr().String()}, Conditions: conditions, NodeName: &here,
		}},
	}
	for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP} {
		found.Ports = append(found.Ports, discoveryv1.EndpointPort{Name: &name, Protocol: &protocol, Port: &port})
	}
	return found
}

// backend listens on an address of its own and gives each connection to a function.
func backend(t *testing.T, ip string, serve func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.AcceptTCP()
			if err != nil {
				return
			}
			go serve(connection)
		}
	}()
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

// named answers each connection with a name and ends it.
func named(name string) func(*net.TCPConn) {
	return func(connection *net.TCPConn) {
		defer connection.Close()
		_, _ = io.WriteString(connection, name)
	}
}

// echo sends back what it gets, to the end of it, and ends then.
func echo(connection *net.TCPConn) {
	defer connection.Close()
	_, _ = io.Copy(connection, connection)
}

// connected makes a connection that must succeed.
func connected(t *testing.T, where string) *net.TCPConn {
	t.Helper()
	connection, err := net.DialTimeout("tcp4", where, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	_ = connection.SetDeadline(time.Now().Add(patience))
	return connection.(*net.TCPConn)
}

// asks is what comes back from a connection until its end.
func asks(t *testing.T, where string) string {
	t.Helper()
	said, err := io.ReadAll(connected(t, where))
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	return string(said)
}

// answers are those of so many connections one after another, sorted out by their number.
func answers(t *testing.T, where string, count int) map[string]int {
	t.Helper()
	found := map[string]int{}
	for range count {
		found[asks(t, where)]++
	}
	return found
}

// refused fails the test unless a connection is refused at once.
func refused(t *testing.T, where string) {
	t.Helper()
	began := time.Now()
	connection, err := net.DialTimeout("tcp4", where, patience)
	if err == nil {
		connection.Close()
		t.Fatalf("%s accepts", where)
	}
	if !strings.Contains(err.Error(), "refused") || time.Since(began) > time.Second {
		t.Fatalf("%s: %v after %s", where, err, time.Since(began))
	}
}

// datagrams answers each datagram with a name and what it says.
func datagrams(t *testing.T, ip, name string) netip.AddrPort {
	t.Helper()
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	go func() {
		data := make([]byte, 1<<16)
		for {
			count, from, err := socket.ReadFromUDPAddrPort(data)
			if err != nil {
				return
			}
			_, _ = socket.WriteToUDPAddrPort(append([]byte(name+" "), data[:count]...), from)
		}
	}()
	return socket.LocalAddr().(*net.UDPAddr).AddrPort()
}

// client is a socket that sends to one address and takes answers from there only.
func client(t *testing.T, where string) *net.UDPConn {
	t.Helper()
	connection, err := net.Dial("udp4", where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return connection.(*net.UDPConn)
}

// exchange sends a datagram and returns the answer.
func exchange(t *testing.T, socket *net.UDPConn, text string) string {
	t.Helper()
	_ = socket.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(socket, text); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 1<<16)
	count, err := socket.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	return string(data[:count])
}

// bothCopiers runs a test with bytes that go through a pipe, and with bytes that go through memory.
func bothCopiers(t *testing.T, test func(*testing.T, *proxied)) {
	for name, by := range map[string]copier{"pipe": throughPipe, "memory": throughBuffer} {
		t.Run(name, func(t *testing.T) {
			p := newProxied(t)
			p.table.router.copier = by
			test(t, p)
		})
	}
}
