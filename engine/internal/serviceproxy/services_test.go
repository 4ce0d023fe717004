package serviceproxy

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func addrPort(ip string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(ip), port)
}

func conditions(ready, serving, terminating bool) discoveryv1.EndpointConditions {
	return discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating}
}

func TestUsableEndpoints(t *testing.T) {
	up, other := addrPort("10.42.0.2", 80), addrPort("10.42.0.3", 80)
	for name, test := range map[string]struct {
		slices []*discoveryv1.EndpointSlice
		wanted []netip.AddrPort
	}{
		"what is not said is ready": {ready(up), []netip.AddrPort{up}},
		"unready": {
			[]*discoveryv1.EndpointSlice{
				slice(up, conditions(false, false, false)), slice(other, conditions(true, true, false)),
			},
			[]netip.AddrPort{other},
		},
		"ending, beside a ready one": {
			[]*discoveryv1.EndpointSlice{slice(up, conditions(false, true, true)), slice(other, conditions(true, true, false))},
			[]netip.AddrPort{other},
		},
		"ending, and there is no other": {
			[]*discoveryv1.EndpointSlice{slice(up, conditions(false, true, true)), slice(other, conditions(false, false, true))},
			[]netip.AddrPort{up},
		},
		"in two slices": {ready(up, up), []netip.AddrPort{up}},
	} {
		t.Run(name, func(t *testing.T) {
			port := corev1.ServicePort{Name: "main", Protocol: corev1.ProtocolTCP, Port: 1}
			if found := portEndpoints(test.slices, port, isAnywhere); !slices.Equal(found, test.wanted) {
				t.Fatalf("%v", found)
			}
		})
	}
}

func TestPortsAreToldApartByNameAndProtocol(t *testing.T) {
	p := newProxied(t)
	web, metrics := backend(t, "127.42.0.1", named("web")), backend(t, "127.42.0.1", named("metrics"))
	two := service("two", clusterIP, "TCP", 28080)
	two.Spec.Ports = append(two.Spec.Ports, corev1.ServicePort{Name: "metrics", Protocol: "TCP", Port: 29090})
	endpoints := ready(web)[0]
	for i := range endpoints.Ports {
		if *endpoints.Ports[i].Protocol == corev1.ProtocolUDP {
			name, protocol, port := "metrics", corev1.ProtocolTCP, int32(metrics.Port())
			endpoints.Ports[i] = discoveryv1.EndpointPort{Name: &name, Protocol: &protocol, Port: &port}
		}
	}
	p.serve(two, endpoints)
	if asks(t, where) != "web" || asks(t, clusterIP+":29090") != "metrics" {
		t.Fatal("the wrong port")
	}
}

func TestEveryKindOfAddressAnswers(t *testing.T) {
	p := newProxied(t)
	all := service("all", clusterIP, "TCP", 28080)
	all.Spec.Type = corev1.ServiceTypeLoadBalancer
	all.Spec.Ports[0].NodePort = 30080
	all.Spec.ExternalIPs = []string{"127.55.0.1"}
	p.serve(all, ready(backend(t, "127.42.0.1", named("one")))...)
	for _, each := range []string{where, "127.77.0.1:30080", "127.55.0.1:28080", "127.44.0.10:28080"} {
		if asks(t, each) != "one" {
			t.Fatal(each)
		}
	}
}

func TestServicesThatAreNotServed(t *testing.T) {
	headless, external := service("headless", "None", "TCP", 80), service("external", "", "TCP", 80)
	foreign := service("foreign", clusterIP, "TCP", 28080)
	external.Spec.Type = corev1.ServiceTypeExternalName
	foreign.Labels = map[string]string{"service.kubernetes.io/service-proxy-name": "other"}
	for _, each := range []*corev1.Service{headless, external, foreign} {
		if wishes := newProxied(t).node.serviceWishes(each, ready(addrPort("10.42.0.2", 80))); len(wishes) != 0 {
			t.Fatalf("%s: %v", each.Name, wishes)
		}
	}
}

func TestAClassGivesALoadBalancerToAnother(t *testing.T) {
	class, web := "example.com/other", service("web", clusterIP, "TCP", 28080)
	web.Spec.Type, web.Spec.LoadBalancerClass = corev1.ServiceTypeLoadBalancer, &class
	if ip, is := newProxied(t).node.loadBalancerAddress(web); is {
		t.Fatal(ip)
	}
}

func TestTheInternalPolicyLocalIsForClusterIPsAlone(t *testing.T) {
	p := newProxied(t)
	local := service("local", clusterIP, "TCP", 28080)
	policy := corev1.ServiceInternalTrafficPolicyLocal
	local.Spec.InternalTrafficPolicy = &policy
	local.Spec.Ports[0].NodePort = 30080
	one, two := backend(t, "127.42.0.1", named("one")), backend(t, "127.42.0.2", named("two"))
	endpoints := ready(one, two)
	elsewhere := "elsewhere"
	endpoints[1].Endpoints[0].NodeName = &elsewhere
	p.serve(local, endpoints...)
	if found := answers(t, where, 4); found["one"] != 4 {
		t.Fatalf("%v", found)
	}
	if found := answers(t, "127.77.0.1:30080", 4); found["two"] != 2 {
		t.Fatalf("%v", found)
	}
	p.serve(local, endpoints[1])
	refused(t, where)
}

func TestAClientKeepsItsEndpointForTheTimeOfAffinity(t *testing.T) {
	one, two := addrPort("10.42.0.2", 80), addrPort("10.42.0.3", 80)
	web := service("web", clusterIP, "TCP", 80)
	seconds := int32(100)
	web.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	web.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{
		ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds},
	}
	from := newPool()
	now := time.Now()
	from.now = func() time.Time { return now }
	from.update([]netip.AddrPort{one, two}, affinity(web))
	first, second := netip.MustParseAddr("10.42.0.8"), netip.MustParseAddr("10.42.0.9")
	kept, _ := from.pick(first, nil)
	if other, _ := from.pick(second, nil); other == kept {
		t.Fatal("two clients have one endpoint while the other has none")
	}
	for range 3 {
		now = now.Add(99 * time.Second) // each connection begins the time anew
		if again, _ := from.pick(first, nil); again != kept {
			t.Fatal("changed before its time")
		}
	}
	now = now.Add(101 * time.Second)
	from.pick(netip.MustParseAddr("10.42.0.10"), nil)
	if len(from.clients) != 1 {
		t.Fatalf("clients that did not come again are remembered: %v", from.clients)
	}
	if later, _ := from.pick(first, nil); later == kept {
		t.Fatal("kept beyond its time")
	}
	from.update([]netip.AddrPort{kept}, affinity(web))
	if moved, is := from.pick(first, nil); !is || moved != kept {
		t.Fatal("a client keeps an endpoint that is gone")
	}
}

func TestOfTwoOwnersTheOlderHasTheAddress(t *testing.T) {
	p := newProxied(t)
	older, newer := service("zebra", clusterIP, "TCP", 28080), service("ant", clusterIP, "TCP", 28080)
	older.CreationTimestamp, newer.CreationTimestamp = metav1.Unix(1, 0), metav1.Unix(2, 0)
	p.serve(newer, ready(backend(t, "127.42.0.1", named("newer")))...)
	p.serve(older, ready(backend(t, "127.42.0.2", named("older")))...)
	if asks(t, where) != "older" {
		t.Fatal("the newer one has it")
	}
	p.table.set(owner{name: "zebra"}, nil)
	if asks(t, where) != "newer" {
		t.Fatal("nobody has it")
	}
}

func TestHostPorts(t *testing.T) {
	p := newProxied(t)
	one := backend(t, "127.42.0.1", named("one"))
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{
			{ContainerPort: int32(one.Port()), HostPort: 28081, Protocol: "TCP"},
			{ContainerPort: int32(one.Port()), HostPort: 28082, HostIP: "127.55.0.1", Protocol: "TCP"},
		}}}},
		Status: corev1.PodStatus{PodIP: "127.42.0.1", Phase: corev1.PodRunning},
	}
	p.table.set(owner{name: "web"}, p.node.podWishes(pod))
	if asks(t, "127.77.0.1:28081") != "one" || asks(t, "127.55.0.1:28082") != "one" {
		t.Fatal("no answer")
	}
	refused(t, "127.77.0.1:28082")
	pod.Status.Phase = corev1.PodSucceeded
	p.table.set(owner{name: "web"}, p.node.podWishes(pod))
	refused(t, "127.77.0.1:28081")
}

func TestAnAddressOfOursAsAnEndpointLeadsToItsOwnEndpoints(t *testing.T) {
	p := newProxied(t)
	web := service("web", clusterIP, "TCP", 28080)
	web.Spec.Ports[0].NodePort = 30080
	p.serve(web, ready(backend(t, "127.42.0.1", named("one")))...)
	p.table.set(owner{name: "--forward"}, []wish{{
		addresses: []address{{"TCP", addrPort("127.0.0.1", 28080)}},
		endpoints: []netip.AddrPort{addrPort("127.77.0.1", 30080)},
	}})
	if asks(t, "127.0.0.1:28080") != "one" {
		t.Fatal("no answer")
	}
	chosen, err := p.table.router.endpoint("TCP", p.table.owners["--forward"][""], netip.MustParseAddr("127.0.0.1"), nil)
	if err != nil || chosen.Addr().String() != "127.42.0.1" {
		t.Fatalf("%v, %v", chosen, err)
	}
}

func TestAWildcardAddressWithTheNodePortItLeadsTo(t *testing.T) {
	p := newProxied(t)
	p.table.set(owner{name: "--forward"}, []wish{{
		addresses: []address{{"TCP", addrPort("0.0.0.0", 30080)}},
		endpoints: []netip.AddrPort{addrPort("127.77.0.1", 30080)},
	}})
	isReset(t, "127.77.0.1:30080") // and not a connection to itself without end
	web := service("web", clusterIP, "TCP", 28080)
	web.Spec.Ports[0].NodePort = 30080
	one := ready(backend(t, "127.42.0.1", named("one")))
	p.serve(web, one...)
	for _, each := range []string{"127.77.0.1:30080", "127.0.0.1:30080"} {
		if asks(t, each) != "one" {
			t.Fatal(each)
		}
	}
	p.serve(web)
	isReset(t, "127.77.0.1:30080")
}
