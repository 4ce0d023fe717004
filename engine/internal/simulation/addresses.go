package simulation

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corev1 "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

const byAddress = "address"

// pool has an address for each simulated pod. Upstream's forgets at its end which ones are taken, and would give them
// to a second pod after a restart; this one looks at the pods that there are.
type pool struct {
	prefix netip.Prefix
	nodes  corev1.NodeLister
	pods   cache.Indexer

	mutex sync.Mutex
	last  netip.Addr
}

// newPool returns when all pods and nodes are known.
func newPool(ctx context.Context, client kubernetes.Interface, prefix netip.Prefix) (*pool, error) {
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Informer()
	if err := pods.AddIndexers(cache.Indexers{byAddress: addressOf}); err != nil {
		return nil, err
	}
	nodes := factory.Core().V1().Nodes()
	nodes.Informer()
	factory.Start(ctx.Done())
	for kind, known := range factory.WaitForCacheSync(ctx.Done()) {
		if !known {
			return nil, fmt.Errorf("told to end before %v were known", kind)
		}
	}
	return &pool{prefix: prefix.Masked(), nodes: nodes.Lister(), pods: pods.GetIndexer(), last: prefix.Masked().Addr()}, nil
}

func addressOf(object any) ([]string, error) {
	pod, isPod := object.(*v1.Pod)
	if !isPod || pod.Status.PodIP == "" || pod.Spec.HostNetwork {
		return nil, nil
	}
	return []string{pod.Status.PodIP}, nil
}

// addresses are those of a new pod on a node: the node's own where the pod shares its network.
func (p *pool) addresses(node string, hostNetwork bool) ([]string, error) {
	if hostNetwork {
		return p.addressesOfNode(node)
	}
	address, err := p.next()
	if err != nil {
		return nil, err
	}
	return []string{address.String()}, nil
}

func (p *pool) addressesOfNode(name string) ([]string, error) {
	node, err := p.nodes.Get(name)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, each := range node.Status.Addresses {
		if each.Type == v1.NodeInternalIP {
			found = append(found, each.Address)
		}
	}
	return found, nil
}

// next goes on from the last one, and comes back to the first only after the whole range: what was given a moment ago
// may not be seen in its pod yet.
func (p *pool) next() (netip.Addr, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	first := p.prefix.Addr().Next()
	for range 1 << (p.prefix.Addr().BitLen() - p.prefix.Bits()) {
		p.last = p.last.Next()
		if !p.prefix.Contains(p.last) {
			p.last = first
		}
		taken, err := p.pods.IndexKeys(byAddress, p.last.String())
		if err != nil {
			return netip.Addr{}, err
		}
		if len(taken) == 0 {
			return p.last, nil
		}
	}
	return netip.Addr{}, errors.New("all addresses of simulated pods are taken")
}
