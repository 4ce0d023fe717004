package kubelet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/server/healthz"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	criapi "k8s.io/cri-api/pkg/apis"
	criv1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
	pluginwatcher "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	"k8s.io/kubernetes/pkg/features"
	"k8s.io/kubernetes/pkg/kubelet"
	"k8s.io/kubernetes/pkg/kubelet/cadvisor"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	"k8s.io/kubernetes/pkg/kubelet/cm/containermap"
	"k8s.io/kubernetes/pkg/kubelet/cm/devicemanager"
	"k8s.io/kubernetes/pkg/kubelet/cm/dra"
	"k8s.io/kubernetes/pkg/kubelet/cm/resourceupdates"
	"k8s.io/kubernetes/pkg/kubelet/cm/topologymanager"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/config"
	"k8s.io/kubernetes/pkg/kubelet/container"
	"k8s.io/kubernetes/pkg/kubelet/eviction"
	evictionapi "k8s.io/kubernetes/pkg/kubelet/eviction/api"
	"k8s.io/kubernetes/pkg/kubelet/lifecycle"
	"k8s.io/kubernetes/pkg/kubelet/pluginmanager/cache"
	"k8s.io/kubernetes/pkg/kubelet/status"
	"k8s.io/kubernetes/pkg/scheduler/framework"
)

// containerManager keeps a node's books without any control group: capacity, reservations, devices and claims. It asks
// for no mounted hierarchy, writes no kernel setting, and leaves containers' groups to the runtime; what upstream's own
// does with control groups (pkg/kubelet/cm/container_manager_linux.go) its stub does not do.
type containerManager struct {
	cm.ContainerManager

	source        cadvisor.Interface
	dependencies  *kubelet.Dependencies
	configuration cm.NodeConfig
	topology      topologymanager.Manager
	devices       devicemanager.Manager

	mutex    sync.RWMutex
	capacity v1.ResourceList
	claims   *dra.Manager // nil until Start: it needs the client of the API, which is made after this
}

var _ cm.ContainerManager = (*containerManager)(nil)

// newContainerManager refuses configurations that only control groups can fulfil.
func newContainerManager(
	ctx context.Context, server *options.KubeletServer, dependencies *kubelet.Dependencies,
) (*containerManager, error) {
	configuration, err := nodeConfiguration(server)
	if err != nil {
		return nil, err
	}
	machine, err := dependencies.CAdvisorInterface.MachineInfo()
	if err != nil {
		return nil, err
	}
	topology, err := topologymanager.NewManager(
		machine.Topology, server.TopologyManagerPolicy, server.TopologyManagerScope, server.TopologyManagerPolicyOptions,
	)
	if err != nil {
		return nil, err
	}
	devices, err := devicemanager.NewManagerImpl(machine.Topology, topology)
	if err != nil {
		return nil, err
	}
	topology.AddHintProvider(klog.FromContext(ctx), devices)
	return &containerManager{
		ContainerManager: cm.NewStubContainerManager(),
		source:           dependencies.CAdvisorInterface,
		dependencies:     dependencies,
		configuration:    configuration,
		topology:         topology,
		devices:          devices,
		capacity:         cadvisor.CapacityFromMachineInfo(machine),
	}, nil
}

func nodeConfiguration(server *options.KubeletServer) (cm.NodeConfig, error) {
	switch {
	case server.CgroupsPerQOS:
		return cm.NodeConfig{}, errors.New("cgroupsPerQOS needs control groups: set it to false")
	case len(sets.New(server.EnforceNodeAllocatable...).Delete("none")) > 0:
		return cm.NodeConfig{}, errors.New("enforceNodeAllocatable needs control groups: make it empty")
	case server.CPUManagerPolicy != "none" || server.ReservedSystemCPUs != "":
		return cm.NodeConfig{}, errors.New("CPUs can be assigned by control groups only: cpuManagerPolicy must be none")
	case server.MemoryManagerPolicy != "None":
		return cm.NodeConfig{}, errors.New("memory can be assigned by control groups only: memoryManagerPolicy must be None")
	}
	kubeReserved, err := quantities(server.KubeReserved)
	if err != nil {
		return cm.NodeConfig{}, fmt.Errorf("kubeReserved: %w", err)
	}
	systemReserved, err := quantities(server.SystemReserved)
	if err != nil {
		return cm.NodeConfig{}, fmt.Errorf("systemReserved: %w", err)
	}
	var thresholds []evictionapi.Threshold
	if !server.ExperimentalNodeAllocatableIgnoreEvictionThreshold {
		if thresholds, err = eviction.ParseThresholdConfig(nil, server.EvictionHard, nil, nil, nil); err != nil {
			return cm.NodeConfig{}, err
		}
	}
	return cm.NodeConfig{
		NodeName:              types.NodeName(server.HostnameOverride),
		KubeletOOMScoreAdj:    server.OOMScoreAdj,
		CgroupRoot:            server.CgroupRoot,
		CgroupDriver:          server.CgroupDriver,
		KubeletRootDir:        server.RootDirectory,
		CPUManagerPolicy:      server.CPUManagerPolicy,
		MemoryManagerPolicy:   server.MemoryManagerPolicy,
		TopologyManagerPolicy: server.TopologyManagerPolicy,
		TopologyManagerScope:  server.TopologyManagerScope,
		NodeAllocatableConfig: cm.NodeAllocatableConfig{
			KubeReserved:           kubeReserved,
			SystemReserved:         systemReserved,
			HardEvictionThresholds: thresholds,
		},
	}, nil
}

func quantities(texts map[string]string) (v1.ResourceList, error) {
	found := v1.ResourceList{}
	for name, text := range texts {
		quantity, err := resource.ParseQuantity(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", name, text, err)
		}
		if quantity.Sign() < 0 {
			return nil, fmt.Errorf("%s: %q is negative", name, text)
		}
		found[v1.ResourceName(name)] = quantity
	}
	return found, nil
}

// Start learns what could not be known before: the size of the kubelet's file system, and the API's client.
func (manager *containerManager) Start(
	ctx context.Context, _ *v1.Node, pods cm.ActivePodsFunc, node cm.GetNodeFunc, sources kubeletconfig.SourcesReady,
	_ status.PodStatusProvider, runtime criapi.RuntimeService, localStorage bool,
) error {
	if localStorage {
		root, err := manager.source.RootFsInfo()
		if err != nil {
			return fmt.Errorf("size of the kubelet's file system: %w", err)
		}
		manager.mutex.Lock()
		maps.Copy(manager.capacity, cadvisor.EphemeralStorageCapacityFromFsInfo(root))
		manager.mutex.Unlock()
	}
	if err := manager.checkReservation(); err != nil {
		return err
	}
	if err := manager.startClaims(ctx, pods, node, sources); err != nil {
		return err
	}
	known, running := containers(ctx, runtime)
	return manager.devices.Start(klog.FromContext(ctx), devicemanager.ActivePodsFunc(pods), sources, known, running)
}

func (manager *containerManager) checkReservation() error {
	reserved, capacity := manager.GetNodeAllocatableReservation(), manager.GetCapacity(true)
	for name, quantity := range reserved {
		if available := capacity[name]; quantity.Cmp(available) > 0 {
			return fmt.Errorf("%s of %s is reserved, and the node has %s", quantity.String(), name, available.String())
		}
	}
	return nil
}

func (manager *containerManager) startClaims(
	ctx context.Context, pods cm.ActivePodsFunc, node cm.GetNodeFunc, sources kubeletconfig.SourcesReady,
) error {
	if !utilfeature.DefaultFeatureGate.Enabled(features.DynamicResourceAllocation) {
		return nil
	}
	claims, err := dra.NewManager(
		klog.FromContext(ctx), manager.dependencies.KubeClient, manager.configuration.KubeletRootDir,
	)
	if err != nil {
		return fmt.Errorf("resource claims: %w", err)
	}
	manager.mutex.Lock()
	manager.claims = claims
	manager.mutex.Unlock()
	return claims.Start(ctx, dra.ActivePodsFunc(pods), dra.GetNodeFunc(node), sources)
}

// containers lists what the runtime has, for the devices that it holds. An error leaves the lists empty, as upstream
// has it: what is there is then learnt pod by pod.
func containers(ctx context.Context, runtime criapi.RuntimeService) (containermap.ContainerMap, sets.Set[string]) {
	known, running := containermap.NewContainerMap(), sets.New[string]()
	pods := map[string]string{}
	sandboxes, _ := runtime.ListPodSandbox(ctx, nil)
	for _, each := range sandboxes {
		pods[each.GetId()] = each.GetMetadata().GetUid()
	}
	found, _ := runtime.ListContainers(ctx, nil)
	for _, each := range found {
		if pod, is := pods[each.GetPodSandboxId()]; is {
			known.Add(pod, each.GetMetadata().GetName(), each.GetId())
		}
		if each.GetState() == criv1.ContainerState_CONTAINER_RUNNING {
			running.Insert(each.GetId())
		}
	}
	return known, running
}

// GetNodeConfig is what of the kubelet's configuration concerns a container manager.
func (manager *containerManager) GetNodeConfig() cm.NodeConfig { return manager.configuration }

// Status tells the one thing that a node without control groups does not do.
func (manager *containerManager) Status() cm.Status {
	return cm.Status{SoftRequirements: errors.New("the kubelet keeps no control groups: limits are the runtime's to enforce")}
}

// GetPodCgroupRoot is the group below which the runtime places containers.
func (manager *containerManager) GetPodCgroupRoot() string { return manager.configuration.CgroupRoot }

// NewPodContainerManager gives all pods the configured group as their parent, or none to whom none is configured.
func (manager *containerManager) NewPodContainerManager() cm.PodContainerManager {
	return podGroups{manager.ContainerManager.NewPodContainerManager(), manager.configuration.CgroupRoot}
}

// InternalContainerLifecycle has no CPUs or memory to assign.
func (manager *containerManager) InternalContainerLifecycle() cm.InternalContainerLifecycle {
	return cm.NewFakeInternalContainerLifecycle()
}

// GetCapacity is what the machine has.
func (manager *containerManager) GetCapacity(localStorage bool) v1.ResourceList {
	manager.mutex.RLock()
	defer manager.mutex.RUnlock()
	found := maps.Clone(manager.capacity)
	if !localStorage {
		delete(found, v1.ResourceEphemeralStorage)
	}
	return found
}

// GetNodeAllocatableReservation is what pods do not get: reservations, and what eviction keeps free.
func (manager *containerManager) GetNodeAllocatableReservation() v1.ResourceList {
	capacity := manager.GetCapacity(true)
	found := keptFree(manager.configuration.HardEvictionThresholds, capacity)
	for _, reserved := range []v1.ResourceList{manager.configuration.KubeReserved, manager.configuration.SystemReserved} {
		for name, quantity := range reserved {
			if _, has := capacity[name]; !has {
				continue
			}
			total := found[name]
			total.Add(quantity)
			found[name] = total
		}
	}
	return found
}

// GetNodeAllocatableAbsolute is the capacity without what is reserved for other than pods.
func (manager *containerManager) GetNodeAllocatableAbsolute() v1.ResourceList {
	found := manager.GetCapacity(true)
	for name, quantity := range found {
		quantity.Sub(manager.configuration.KubeReserved[name])
		quantity.Sub(manager.configuration.SystemReserved[name])
		if quantity.Sign() < 0 {
			quantity.Set(0)
		}
		found[name] = quantity
	}
	return found
}

// keptFree is the memory and storage below which pods are evicted, and which they therefore cannot have.
func keptFree(thresholds []evictionapi.Threshold, capacity v1.ResourceList) v1.ResourceList {
	resources := map[evictionapi.Signal]v1.ResourceName{
		evictionapi.SignalMemoryAvailable: v1.ResourceMemory,
		evictionapi.SignalNodeFsAvailable: v1.ResourceEphemeralStorage,
	}
	found := v1.ResourceList{}
	for _, threshold := range thresholds {
		name, counts := resources[threshold.Signal]
		if !counts || threshold.Operator != evictionapi.OpLessThan {
			continue
		}
		if total, has := capacity[name]; has {
			found[name] = *evictionapi.GetThresholdQuantity(threshold.Value, &total)
		}
	}
	return found
}

// GetDevicePluginResourceCapacity counts the devices that plugins have announced.
func (manager *containerManager) GetDevicePluginResourceCapacity() (v1.ResourceList, v1.ResourceList, []string) {
	return manager.devices.GetCapacity()
}

// UpdatePluginResources makes room in the books for devices that a pod holds already.
func (manager *containerManager) UpdatePluginResources(
	node *framework.NodeInfo, attributes *lifecycle.PodAdmitAttributes,
) error {
	return manager.devices.UpdatePluginResources(node, attributes)
}

// ShouldResetExtendedResourceCapacity says whether the node was made anew.
func (manager *containerManager) ShouldResetExtendedResourceCapacity() bool {
	return manager.devices.ShouldResetExtendedResourceCapacity()
}

// GetAllocateResourcesPodAdmitHandler admits a pod when its devices can be had.
func (manager *containerManager) GetAllocateResourcesPodAdmitHandler() lifecycle.PodAdmitHandler {
	return manager.topology
}

// GetPluginRegistrationHandlers receives device plugins and drivers of resource claims.
func (manager *containerManager) GetPluginRegistrationHandlers() map[string]cache.PluginHandler {
	found := map[string]cache.PluginHandler{pluginwatcher.DevicePlugin: manager.devices.GetWatcherHandler()}
	if claims := manager.resourceClaims(); claims != nil {
		found[pluginwatcher.DRAPlugin] = claims.GetWatcherHandler()
	}
	return found
}

// GetHealthCheckers is asked by a systemd watchdog.
func (manager *containerManager) GetHealthCheckers() []healthz.HealthChecker {
	return []healthz.HealthChecker{manager.devices.GetHealthChecker()}
}

// Updates tells of devices that became unfit.
func (manager *containerManager) Updates() <-chan resourceupdates.Update {
	return manager.devices.Updates()
}

// UpdateAllocatedResourcesStatus writes the health of a pod's devices into its status.
func (manager *containerManager) UpdateAllocatedResourcesStatus(pod *v1.Pod, status *v1.PodStatus) {
	manager.devices.UpdateAllocatedResourcesStatus(pod, status)
	if claims := manager.resourceClaims(); claims != nil {
		claims.UpdateAllocatedResourcesStatus(pod, status)
	}
}

// GetResources is what a container gets of the devices and claims of its pod.
func (manager *containerManager) GetResources(
	ctx context.Context, pod *v1.Pod, of *v1.Container,
) (*container.RunContainerOptions, error) {
	found := &container.RunContainerOptions{}
	if claims := manager.resourceClaims(); claims != nil {
		claimed, err := claims.GetResources(pod, of)
		if err != nil {
			return nil, err
		}
		found.CDIDevices = append(found.CDIDevices, claimed.CDIDevices...)
	}
	devices, err := manager.devices.GetDeviceRunContainerOptions(ctx, pod, of)
	if err != nil || devices == nil {
		return found, err
	}
	found.Devices, found.Mounts = devices.Devices, devices.Mounts
	found.Envs, found.Annotations = devices.Envs, devices.Annotations
	found.CDIDevices = append(found.CDIDevices, devices.CDIDevices...)
	return found, nil
}

// PrepareDynamicResources has drivers prepare a pod's claims.
func (manager *containerManager) PrepareDynamicResources(ctx context.Context, pod *v1.Pod) error {
	if claims := manager.resourceClaims(); claims != nil {
		return claims.PrepareResources(ctx, pod)
	}
	return nil
}

// UnprepareDynamicResources has drivers release them.
func (manager *containerManager) UnprepareDynamicResources(ctx context.Context, pod *v1.Pod) error {
	if claims := manager.resourceClaims(); claims != nil {
		return claims.UnprepareResources(ctx, pod)
	}
	return nil
}

// PodMightNeedToUnprepareResources asks whether a pod still holds claims.
func (manager *containerManager) PodMightNeedToUnprepareResources(pod types.UID) bool {
	claims := manager.resourceClaims()
	return claims != nil && claims.PodMightNeedToUnprepareResources(pod)
}

func (manager *containerManager) resourceClaims() *dra.Manager {
	manager.mutex.RLock()
	defer manager.mutex.RUnlock()
	return manager.claims
}

// podGroups names the parent of containers' groups, and makes or changes none.
type podGroups struct {
	cm.PodContainerManager
	parent string
}

// GetPodContainerName is the same for all pods.
func (groups podGroups) GetPodContainerName(*v1.Pod) (cm.CgroupName, string) {
	return cm.ParseCgroupfsToCgroupName(groups.parent), groups.parent
}

// IsPodCgroup tells the names under which our statistics add up a pod's containers.
func (podGroups) IsPodCgroup(name string) (bool, types.UID) {
	uid, is := strings.CutPrefix(path.Base(name), "pod")
	return is, types.UID(uid)
}

// GetPodCgroupConfig knows of no limit of a pod, which is what zeros mean: a resize changes its containers' alone. An
// error or an incomplete answer would end the kubelet: upstream looks behind the pointers without asking.
func (podGroups) GetPodCgroupConfig(*v1.Pod, v1.ResourceName) (*cm.ResourceConfig, error) {
	return &cm.ResourceConfig{
		Memory: new(int64), CPUShares: new(uint64), CPUPeriod: new(uint64), CPUQuota: new(int64),
	}, nil
}

// SetPodCgroupConfig has no group to set a limit of.
func (podGroups) SetPodCgroupConfig(klog.Logger, *v1.Pod, *cm.ResourceConfig) error { return nil }
