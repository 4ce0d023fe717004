package kubelet

import (
	"cmp"
	"context"
	"path"
	"time"

	criapi "k8s.io/cri-api/pkg/apis"
	criv1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
	"k8s.io/kubelet/pkg/types"
)

// runtimeTime is how long the runtime may take to list what it has.
const runtimeTime = 5 * time.Second

// runtimeGroup is where containerd places containers of pods that name no parent.
const runtimeGroup = "/k8s.io"

// identity is what the runtime knows of a container, or of a pod's sandbox.
type identity struct {
	id        string
	container string // empty for a sandbox
	sandbox   bool
	pod       string
	namespace string
	uid       string
	image     string
}

// labels are those by which the kubelet recognizes a container (pkg/kubelet/stats, isPodManagedContainer).
func (each identity) labels() map[string]string {
	if each.id == "" {
		return nil
	}
	return map[string]string{
		types.KubernetesPodNameLabel:       each.pod,
		types.KubernetesPodNamespaceLabel:  each.namespace,
		types.KubernetesPodUIDLabel:        each.uid,
		types.KubernetesContainerNameLabel: each.container,
	}
}

// inventory is what the runtime has, by its identifiers.
type inventory map[string]identity

// takeInventory asks the runtime. What cannot be told is missing: the machine's figures must not depend on it.
func takeInventory(runtime criapi.RuntimeService) inventory {
	found := inventory{}
	if runtime == nil {
		return found
	}
	ctx, cancel := context.WithTimeout(context.Background(), runtimeTime)
	defer cancel()
	sandboxes, err := runtime.ListPodSandbox(ctx, nil)
	if err != nil {
		klog.ErrorS(err, "No statistics by pod: the runtime does not list them")
		return found
	}
	containers, err := runtime.ListContainers(ctx, nil)
	if err != nil {
		klog.ErrorS(err, "No statistics by container: the runtime does not list them")
	}
	for _, each := range sandboxes {
		found[each.GetId()] = identityOfSandbox(each)
	}
	for _, each := range containers {
		if pod, is := found[each.GetPodSandboxId()]; is {
			found[each.GetId()] = identityOfContainer(each, pod)
		}
	}
	return found
}

func identityOfSandbox(each *criv1.PodSandbox) identity {
	metadata := each.GetMetadata()
	return identity{
		id: each.GetId(), sandbox: true,
		pod: metadata.GetName(), namespace: metadata.GetNamespace(), uid: metadata.GetUid(),
	}
}

func identityOfContainer(each *criv1.Container, pod identity) identity {
	return identity{
		id: each.GetId(), container: each.GetMetadata().GetName(),
		image: cmp.Or(each.GetImage().GetUserSpecifiedImage(), each.GetImage().GetImage()),
		pod:   pod.pod, namespace: pod.namespace, uid: pod.uid,
	}
}

// place is where containers' control groups lie: below those of their pods, which the container manager makes, or, flat,
// all directly below one.
type place struct {
	flat bool
	top  string
}

// newPlace follows from the kubelet's configuration (pkg/kubelet/cm names the group of all pods below the root).
func newPlace(perQualityOfService bool, root string) place {
	switch {
	case perQualityOfService:
		return place{top: path.Join("/", root, "kubepods")}
	case root != "":
		return place{flat: true, top: path.Join("/", root)}
	}
	return place{flat: true, top: runtimeGroup}
}

// groups lists the groups of containers, and of pods and their parents where there are such; with who they are of.
func (where place) groups(groups controlGroups, known inventory) map[string]identity {
	found := map[string]identity{}
	depth := containerDepth
	if where.flat {
		depth = 1
	}
	for _, name := range groups.below(where.top, depth) {
		container, isContainer := known[path.Base(name)]
		if isContainer || !where.flat || name == where.top {
			found[name] = container
		}
	}
	return found
}

// pods adds up the containers of each pod where pods have no groups, under a name of the form that they would have.
func (where place) pods(readings map[string]reading) map[string]reading {
	found := map[string]reading{}
	if !where.flat {
		return found
	}
	for _, each := range readings {
		if each.uid == "" {
			continue
		}
		name := path.Join(where.top, "pod"+each.uid)
		found[name] = reading{usage: found[name].plus(each.usage)}
	}
	return found
}
