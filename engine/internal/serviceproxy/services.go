package serviceproxy

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/kubernetes/pkg/proxy/apis"
)

// node is what the wishes depend on besides the objects.
type node struct {
	name string
	// addresses are those on which node ports and host ports answer.
	addresses []netip.Addr
	// serviceRange holds the cluster IPs. A load balancer's address is the one at the same place in the other range, so
	// that no two are the same and a restart needs no memory.
	serviceRange, loadBalancerRange netip.Prefix
}

// serviceWishes are the addresses of a Service with their endpoints; none for a Service that is not this proxy's.
func (n node) serviceWishes(service *corev1.Service, endpoints []*discoveryv1.EndpointSlice) []wish {
	if !isServed(service) {
		return nil
	}
	var wishes []wish
	for _, port := range service.Spec.Ports {
		inside, outside := n.insideAddresses(service, port), n.outsideAddresses(service, port)
		usable := func(accepts func(discoveryv1.Endpoint) bool) []netip.AddrPort {
			return portEndpoints(endpoints, port, accepts)
		}
		if isLocalOnly(service) {
			// Upstream lets clients of the node itself reach outside addresses as if the policy was Cluster, and no
			// other client comes here.
			wishes = append(wishes,
				wish{port.Name, inside, usable(n.isHere), affinity(service)},
				wish{port.Name + " outside", outside, usable(isAnywhere), affinity(service)})
			continue
		}
		wishes = append(wishes, wish{port.Name, slices.Concat(inside, outside), usable(isAnywhere), affinity(service)})
	}
	return wishes
}

// isServed is false for Services without an address of their own, and for those that a label gives to another proxy.
func isServed(service *corev1.Service) bool {
	_, hasOtherProxy := service.Labels[apis.LabelServiceProxyName]
	_, isHeadless := service.Labels[corev1.IsHeadlessService]
	_, hasAddress := parseIPv4(service.Spec.ClusterIP)
	return hasAddress && !hasOtherProxy && !isHeadless && service.Spec.Type != corev1.ServiceTypeExternalName
}

func isLocalOnly(service *corev1.Service) bool {
	policy := service.Spec.InternalTrafficPolicy
	return policy != nil && *policy == corev1.ServiceInternalTrafficPolicyLocal
}

// affinity is how long a client keeps its endpoint; zero without affinity.
func affinity(service *corev1.Service) time.Duration {
	if service.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return 0
	}
	seconds := int32(corev1.DefaultClientIPServiceAffinitySeconds)
	if given := service.Spec.SessionAffinityConfig; given != nil && given.ClientIP != nil {
		if given.ClientIP.TimeoutSeconds != nil {
			seconds = *given.ClientIP.TimeoutSeconds
		}
	}
	return time.Duration(seconds) * time.Second
}

func (n node) insideAddresses(service *corev1.Service, port corev1.ServicePort) []address {
	var found []address
	for _, text := range service.Spec.ClusterIPs {
		if ip, is := parseIPv4(text); is {
			found = append(found, at(port.Protocol, ip, port.Port))
		}
	}
	return found
}

func (n node) outsideAddresses(service *corev1.Service, port corev1.ServicePort) []address {
	var found []address
	if port.NodePort != 0 {
		for _, ip := range n.addresses {
			found = append(found, at(port.Protocol, ip, port.NodePort))
		}
	}
	for _, text := range service.Spec.ExternalIPs {
		if ip, is := parseIPv4(text); is {
			found = append(found, at(port.Protocol, ip, port.Port))
		}
	}
	if ip, is := n.loadBalancerAddress(service); is {
		found = append(found, at(port.Protocol, ip, port.Port))
	}
	return found
}

// loadBalancerAddress is what a Service of type LoadBalancer gets, unless its class gives it to another implementation.
func (n node) loadBalancerAddress(service *corev1.Service) (netip.Addr, bool) {
	if service.Spec.Type != corev1.ServiceTypeLoadBalancer || service.Spec.LoadBalancerClass != nil {
		return netip.Addr{}, false
	}
	clusterIP, is := parseIPv4(service.Spec.ClusterIP)
	if !is || !n.serviceRange.Contains(clusterIP) || !n.loadBalancerRange.IsValid() {
		return netip.Addr{}, false
	}
	offset := number(clusterIP) - number(n.serviceRange.Masked().Addr())
	var octets [4]byte
	binary.BigEndian.PutUint32(octets[:], number(n.loadBalancerRange.Masked().Addr())+offset)
	ip := netip.AddrFrom4(octets)
	return ip, n.loadBalancerRange.Contains(ip)
}

func number(ip netip.Addr) uint32 {
	octets := ip.As4()
	return binary.BigEndian.Uint32(octets[:])
}

// isHere is for the traffic policy Local: endpoints on this node, which those without a node's name are not.
func (n node) isHere(endpoint discoveryv1.Endpoint) bool {
	return endpoint.NodeName != nil && *endpoint.NodeName == n.name
}

func isAnywhere(discoveryv1.Endpoint) bool { return true }

// portEndpoints are the usable endpoints of one port of a Service: the ready ones, and if there are none those that end
// but still serve (pkg/proxy/topology.go). Which number a named target port has is in the slices already.
func portEndpoints(
	endpoints []*discoveryv1.EndpointSlice, port corev1.ServicePort, accepts func(discoveryv1.Endpoint) bool,
) []netip.AddrPort {
	ready, ending := sets.New[netip.AddrPort](), sets.New[netip.AddrPort]()
	for _, slice := range endpoints {
		number := targetPort(slice, port)
		if slice.AddressType != discoveryv1.AddressTypeIPv4 || number == 0 {
			continue
		}
		for _, each := range slice.Endpoints {
			kind := ending
			if isReady(each.Conditions) {
				kind = ready
			} else if !isServingToTheEnd(each.Conditions) {
				continue
			}
			if ip, is := parseIPv4(first(each.Addresses)); is && accepts(each) {
				kind.Insert(netip.AddrPortFrom(ip, uint16(number)))
			}
		}
	}
	if len(ready) > 0 {
		return sorted(ready)
	}
	return sorted(ending)
}

// targetPort is a Service port's number at the endpoints of a slice, or zero.
func targetPort(slice *discoveryv1.EndpointSlice, port corev1.ServicePort) int32 {
	for _, each := range slice.Ports {
		name, protocol := "", corev1.ProtocolTCP
		if each.Name != nil {
			name = *each.Name
		}
		if each.Protocol != nil {
			protocol = *each.Protocol
		}
		if name == port.Name && protocol == port.Protocol && each.Port != nil {
			return *each.Port
		}
	}
	return 0
}

// isReady takes what is not said for ready (k8s.io/api/discovery/v1, EndpointConditions).
func isReady(conditions discoveryv1.EndpointConditions) bool {
	return conditions.Ready == nil || *conditions.Ready
}

func isServingToTheEnd(conditions discoveryv1.EndpointConditions) bool {
	return conditions.Serving != nil && *conditions.Serving && conditions.Terminating != nil && *conditions.Terminating
}

// first is the only address that counts: an endpoint's further ones are the same endpoint.
func first(addresses []string) string {
	if len(addresses) == 0 {
		return ""
	}
	return addresses[0]
}

func sorted(endpoints sets.Set[netip.AddrPort]) []netip.AddrPort {
	return slices.SortedFunc(func(yield func(netip.AddrPort) bool) {
		for each := range endpoints {
			if !yield(each) {
				return
			}
		}
	}, netip.AddrPort.Compare)
}

// podWishes are a pod's host ports.
func (n node) podWishes(pod *corev1.Pod) []wish {
	podIP, hasAddress := parseIPv4(pod.Status.PodIP)
	isOver := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	if !hasAddress || isOver || pod.Spec.HostNetwork {
		return nil
	}
	var wishes []wish
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		for _, port := range container.Ports {
			if port.HostPort == 0 {
				continue
			}
			var places []address
			for _, ip := range n.hostPortAddresses(port) {
				places = append(places, at(port.Protocol, ip, port.HostPort))
			}
			target := netip.AddrPortFrom(podIP, uint16(port.ContainerPort))
			wishes = append(wishes, wish{
				name: target.String() + string(port.Protocol), addresses: places, endpoints: []netip.AddrPort{target},
			})
		}
	}
	return wishes
}

// hostPortAddresses is the one that the pod asks for, or all of the node's.
func (n node) hostPortAddresses(port corev1.ContainerPort) []netip.Addr {
	if ip, is := parseIPv4(port.HostIP); is && !ip.IsUnspecified() {
		return []netip.Addr{ip}
	}
	return n.addresses
}
