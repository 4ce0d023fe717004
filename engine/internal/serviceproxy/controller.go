package serviceproxy

import (
	"context"
	"errors"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

const (
	// retryInterval is how often an address is asked for that another process had.
	retryInterval = time.Second
	// sweepInterval is how often idle UDP associations are looked for.
	sweepInterval = 10 * time.Second
	byService     = "service"
)

// Keys of the queue: what it is and the object's namespace/name.
const (
	serviceKey = "Service "
	podKey     = "Pod "
	retryKey   = "retry"
	sweepKey   = "sweep"
)

// controller keeps the table as the objects are. Changes come as keys in a queue, where several of one object become
// one, and are worked on one after another; each touches the sockets of its own object alone.
type controller struct {
	node      node
	table     *table
	queue     workqueue.TypedInterface[string]
	services  cache.Store
	slices    cache.Indexer
	pods      cache.Store
	balancer  *loadBalancer
	informers []cache.SharedIndexInformer
	synced    []cache.InformerSynced
}

func newController(client kubernetes.Interface, node node, table *table) (*controller, error) {
	c := &controller{
		node:     node,
		table:    table,
		queue:    workqueue.NewTyped[string](),
		balancer: newLoadBalancer(client, node),
	}
	objects := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(withoutHistory))
	mine := informers.NewSharedInformerFactoryWithOptions(client, 0,
		informers.WithTransform(withoutHistory),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) {
			options.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", node.name).String()
		}))
	services := objects.Core().V1().Services().Informer()
	slices := objects.Discovery().V1().EndpointSlices().Informer()
	pods := mine.Core().V1().Pods().Informer()
	if err := slices.AddIndexers(cache.Indexers{byService: serviceOfSlice}); err != nil {
		return nil, err
	}
	c.services, c.slices, c.pods = services.GetStore(), slices.GetIndexer(), pods.GetStore()
	return c, errors.Join(
		c.watch(services, func(object any) []string { return []string{serviceKey + name(object)} }),
		c.watch(slices, keysOfSlice),
		c.watch(pods, func(object any) []string { return []string{podKey + name(object)} }),
	)
}

// watch queues what the keys of a changed object say, before and after the change.
func (c *controller) watch(informer cache.SharedIndexInformer, keys func(any) []string) error {
	add := func(object any) {
		if lost, is := object.(cache.DeletedFinalStateUnknown); is {
			object = lost.Obj
		}
		for _, key := range keys(object) {
			c.queue.Add(key)
		}
	}
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    add,
		UpdateFunc: func(old, changed any) { add(old); add(changed) },
		DeleteFunc: add,
	})
	if err == nil {
		c.informers = append(c.informers, informer)
		c.synced = append(c.synced, registration.HasSynced)
	}
	return err
}

// run works on the queue until the context ends. ready is called when all that was there at the beginning is served.
func (c *controller) run(ctx context.Context, ready func()) {
	for _, each := range c.informers {
		go each.Run(ctx.Done())
	}
	if !cache.WaitForCacheSync(ctx.Done(), c.synced...) {
		return
	}
	for c.queue.Len() > 0 {
		c.workOnNext()
	}
	ready()
	go c.balancer.run(ctx)
	go c.tick(ctx, retryInterval, retryKey)
	go c.tick(ctx, sweepInterval, sweepKey)
	context.AfterFunc(ctx, c.queue.ShutDown)
	for c.workOnNext() {
	}
}

func (c *controller) tick(ctx context.Context, interval time.Duration, key string) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.queue.Add(key)
		}
	}
}

func (c *controller) workOnNext() bool {
	key, isOver := c.queue.Get()
	if isOver {
		return false
	}
	defer c.queue.Done(key)
	switch {
	case key == retryKey:
		c.table.retry()
	case key == sweepKey:
		c.table.sweep(time.Now())
	case strings.HasPrefix(key, serviceKey):
		c.updateService(key, strings.TrimPrefix(key, serviceKey))
	case strings.HasPrefix(key, podKey):
		c.updatePod(key, strings.TrimPrefix(key, podKey))
	}
	return true
}

func (c *controller) updateService(key, name string) {
	object, exists, _ := c.services.GetByKey(name)
	if !exists {
		c.table.set(owner{name: key}, nil)
		return
	}
	service := object.(*corev1.Service)
	found, _ := c.slices.ByIndex(byService, name)
	endpoints := make([]*discoveryv1.EndpointSlice, 0, len(found))
	for _, each := range found {
		endpoints = append(endpoints, each.(*discoveryv1.EndpointSlice))
	}
	c.table.set(owner{key, service.CreationTimestamp.Time}, c.node.serviceWishes(service, endpoints))
	c.balancer.look(service)
}

func (c *controller) updatePod(key, name string) {
	object, exists, _ := c.pods.GetByKey(name)
	if !exists {
		c.table.set(owner{name: key}, nil)
		return
	}
	pod := object.(*corev1.Pod)
	c.table.set(owner{key, pod.CreationTimestamp.Time}, c.node.podWishes(pod))
}

func name(object any) string {
	key, _ := cache.DeletionHandlingMetaNamespaceKeyFunc(object)
	return key
}

// serviceOfSlice is the index of slices by their Service's namespace/name.
func serviceOfSlice(object any) ([]string, error) {
	slice, is := object.(*discoveryv1.EndpointSlice)
	if !is || slice.Labels[discoveryv1.LabelServiceName] == "" {
		return nil, nil
	}
	return []string{slice.Namespace + "/" + slice.Labels[discoveryv1.LabelServiceName]}, nil
}

func keysOfSlice(object any) []string {
	names, _ := serviceOfSlice(object)
	for i := range names {
		names[i] = serviceKey + names[i]
	}
	return names
}

// withoutHistory forgets what a watched object says about who changed it: often the larger part of it. Of a pod only
// what a host port needs is kept.
func withoutHistory(object any) (any, error) {
	accessor, err := meta.Accessor(object)
	if err != nil {
		return object, nil // what informers store for a lost deletion
	}
	accessor.SetManagedFields(nil)
	accessor.SetAnnotations(nil)
	if pod, is := object.(*corev1.Pod); is {
		return hostPortsOnly(pod), nil
	}
	return object, nil
}

func hostPortsOnly(pod *corev1.Pod) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
			CreationTimestamp: pod.CreationTimestamp,
		},
		Spec: corev1.PodSpec{
			HostNetwork:    pod.Spec.HostNetwork,
			InitContainers: portsOnly(pod.Spec.InitContainers),
			Containers:     portsOnly(pod.Spec.Containers),
		},
		Status: corev1.PodStatus{Phase: pod.Status.Phase, PodIP: pod.Status.PodIP},
	}
}

func portsOnly(containers []corev1.Container) []corev1.Container {
	var found []corev1.Container
	for _, each := range containers {
		if len(each.Ports) > 0 {
			found = append(found, corev1.Container{Ports: each.Ports})
		}
	}
	return found
}
