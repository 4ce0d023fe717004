package serviceproxy

import (
	"context"
	"encoding/json"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
)

// patchTimeout bounds one request to the API server.
const patchTimeout = 10 * time.Second

// loadBalancer writes the addresses of Services of type LoadBalancer into their status.
type loadBalancer struct {
	client kubernetes.Interface
	node   node
	queue  workqueue.TypedRateLimitingInterface[assignment]
}

// assignment is the address that a Service's status is to have; none (the zero value) takes ours away.
type assignment struct {
	namespace, name string
	ip              netip.Addr
}

func newLoadBalancer(client kubernetes.Interface, node node) *loadBalancer {
	limits := workqueue.NewTypedItemExponentialFailureRateLimiter[assignment](100*time.Millisecond, 30*time.Second)
	return &loadBalancer{client, node, workqueue.NewTypedRateLimitingQueue(limits)}
}

// look queues a Service whose status says something else than it should.
func (b *loadBalancer) look(service *corev1.Service) {
	ip, wanted := b.node.loadBalancerAddress(service)
	ingress := service.Status.LoadBalancer.Ingress
	isThere := len(ingress) == 1 && ingress[0].IP == ip.String()
	if wanted && !isThere || !wanted && b.areOurs(ingress) {
		b.queue.Add(assignment{service.Namespace, service.Name, ip})
	}
}

// areOurs tells whether a status was written here, for a type that the Service had before.
func (b *loadBalancer) areOurs(ingress []corev1.LoadBalancerIngress) bool {
	if len(ingress) != 1 {
		return false
	}
	ip, is := parseIPv4(ingress[0].IP)
	return is && b.node.loadBalancerRange.Contains(ip)
}

func (b *loadBalancer) run(ctx context.Context) {
	context.AfterFunc(ctx, b.queue.ShutDown)
	for b.writeNext(ctx) {
	}
}

func (b *loadBalancer) writeNext(ctx context.Context) bool {
	next, isOver := b.queue.Get()
	if isOver {
		return false
	}
	defer b.queue.Done(next)
	err := b.write(ctx, next)
	if err != nil && !apierrors.IsNotFound(err) {
		klog.ErrorS(err, "Cannot write the status of a load balancer", "service", next.namespace+"/"+next.name)
		b.queue.AddRateLimited(next)
		return true
	}
	b.queue.Forget(next)
	return true
}

func (b *loadBalancer) write(ctx context.Context, next assignment) error {
	ctx, cancel := context.WithTimeout(ctx, patchTimeout)
	defer cancel()
	var status corev1.LoadBalancerStatus
	if next.ip.IsValid() {
		status.Ingress = []corev1.LoadBalancerIngress{{IP: next.ip.String()}}
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"loadBalancer": status}})
	if err != nil {
		return err
	}
	if !next.ip.IsValid() {
		patch = []byte(`{"status":{"loadBalancer":{"ingress":null}}}`)
	}
	_, err = b.client.CoreV1().Services(next.namespace).Patch(
		ctx, next.name, types.MergePatchType, patch, metav1.PatchOptions{}, "status",
	)
	return err
}
