package kubelet

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	v1 "github.com/google/cadvisor/info/v1"
	v2 "github.com/google/cadvisor/info/v2"
	criapi "k8s.io/cri-api/pkg/apis"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	"k8s.io/kubernetes/pkg/kubelet"
	"k8s.io/kubernetes/pkg/kubelet/cadvisor"
)

// sampleInterval is the least time between the two samples of which a rate is made: shorter ones say little.
const sampleInterval = time.Second

// statistics answers what the kubelet asks cAdvisor for (pkg/kubelet/cadvisor/types.go): the machine's capacity and use
// from /proc, file systems from statfs(2), containers, pods and their parents from their control groups. (containerd
// counts a container's CPU and memory as 0 where a file of its group is missing.)
type statistics struct {
	rootDirectory string
	place         place
	groups        controlGroups
	images        func() criapi.ImageManagerService
	inventory     func() inventory

	mutex   sync.Mutex
	samples map[string][]*v2.ContainerStats
}

var _ cadvisor.Interface = (*statistics)(nil)

// newStatistics looks into `dependencies` only when asked: the connection to the runtime is made after this.
func newStatistics(server *options.KubeletServer, dependencies *kubelet.Dependencies) *statistics {
	return &statistics{
		rootDirectory: server.RootDirectory,
		place:         newPlace(server.CgroupsPerQOS, server.CgroupRoot),
		groups:        findControlGroups(),
		images:        func() criapi.ImageManagerService { return dependencies.RemoteImageService },
		inventory:     func() inventory { return takeInventory(dependencies.RemoteRuntimeService) },
		samples:       map[string][]*v2.ContainerStats{},
	}
}

// Start has nothing to start: samples are taken when they are asked for.
func (source *statistics) Start() error { return nil }

// MachineInfo describes what the node offers.
func (source *statistics) MachineInfo() (*v1.MachineInfo, error) { return machineInformation() }

// VersionInfo names kernel and distribution.
func (source *statistics) VersionInfo() (*v1.VersionInfo, error) { return versions() }

// RootFsInfo is about the file system of the kubelet's directory.
func (source *statistics) RootFsInfo() (v2.FsInfo, error) { return fileSystem(source.rootDirectory) }

// GetDirFsInfo is about the file system that holds a path.
func (source *statistics) GetDirFsInfo(path string) (v2.FsInfo, error) { return fileSystem(path) }

// ImagesFsInfo is about the file system on which the runtime keeps images.
func (source *statistics) ImagesFsInfo(ctx context.Context) (v2.FsInfo, error) {
	service := source.images()
	if service == nil {
		return v2.FsInfo{}, errors.New("the container runtime is not connected yet")
	}
	answer, err := service.ImageFsInfo(ctx)
	if err != nil {
		return v2.FsInfo{}, err
	}
	for _, each := range answer.GetImageFilesystems() {
		return fileSystem(each.GetFsId().GetMountpoint())
	}
	return v2.FsInfo{}, errors.New("the container runtime names no file system of images")
}

// ContainerFsInfo is about the file system of writable layers, which for containerd is the images' one.
func (source *statistics) ContainerFsInfo(ctx context.Context) (v2.FsInfo, error) {
	return source.ImagesFsInfo(ctx)
}

// ContainerInfoV2 answers for "/" (the machine) and for containers, pods and groups of them by their control group's
// name; recursively for all of these. A name that is no control group is an error.
func (source *statistics) ContainerInfoV2(name string, request v2.RequestOptions) (map[string]v2.ContainerInfo, error) {
	readings, err := source.read(name, request.Recursive)
	if err != nil {
		return nil, err
	}
	now, found := time.Now(), map[string]v2.ContainerInfo{}
	for name, each := range readings {
		found[name] = v2.ContainerInfo{
			Spec: v2.ContainerSpec{
				CreationTime: each.created,
				Labels:       each.labels(),
				Image:        each.image,
				HasCpu:       true,
				HasMemory:    true,
				HasNetwork:   each.network != nil,
				HasProcesses: true,
				Memory:       v2.MemorySpec{Limit: each.memoryLimit, SwapLimit: each.swapLimit},
			},
			Stats: source.remember(name, each.usage, now),
		}
	}
	if name == "/" && request.Recursive {
		source.forget(found)
	}
	return found, nil
}

// GetRequestedContainersInfo serves /metrics/cadvisor: one sample of each, with what is counted of its processes.
func (source *statistics) GetRequestedContainersInfo(
	name string, request v2.RequestOptions,
) (map[string]*v1.ContainerInfo, error) {
	readings, err := source.read(name, request.Recursive)
	if err != nil {
		return nil, err
	}
	now, found := time.Now(), map[string]*v1.ContainerInfo{}
	for name, each := range readings {
		information := &v1.ContainerInfo{
			ContainerReference: v1.ContainerReference{Name: name},
			Spec: v1.ContainerSpec{
				CreationTime: each.created,
				Labels:       each.labels(),
				Image:        each.image,
				HasCpu:       true,
				Cpu:          source.groups.share(name),
				HasMemory:    true,
				HasNetwork:   each.network != nil,
				HasProcesses: true,
				Memory:       v1.MemorySpec{Limit: each.memoryLimit, SwapLimit: each.swapLimit},
			},
			Stats: []*v1.ContainerStats{{
				Timestamp: now,
				Cpu:       v1.CpuStats{Usage: each.cpuUsage()},
				Memory:    each.memoryUsage(),
				Network:   v1.NetworkStats{Interfaces: each.network},
				Processes: processDetails(each.processes),
			}},
		}
		if each.id != "" {
			information.Id, information.Aliases, information.Namespace = each.id, []string{each.id}, "containerd"
		}
		found[name] = information
	}
	return found, nil
}

// reading is what was counted of a group, and of which container, where it is one.
type reading struct {
	usage
	identity
}

// read counts one group, or with it all of containers and pods.
func (source *statistics) read(name string, recursively bool) (map[string]reading, error) {
	use, err := source.usage(name)
	if err != nil {
		return nil, err
	}
	found := map[string]reading{name: {usage: use}}
	if !recursively {
		return found, nil
	}
	known := source.inventory()
	for group, container := range source.place.groups(source.groups, known) {
		use, err := source.usage(group)
		if err != nil {
			continue // it went away meanwhile
		}
		if container.sandbox {
			use.network = networkOf(use.processes)
		}
		found[group] = reading{use, container}
	}
	maps.Copy(found, source.place.pods(found))
	return found, nil
}

// usage counts one group. All pods together can have what the machine has, where nothing else limits them: the kubelet
// wants a number for what is left of it.
func (source *statistics) usage(name string) (usage, error) {
	if name == "/" {
		return machineUsage()
	}
	use, err := source.groups.usage(name)
	if err == nil && name == source.place.top {
		use.memoryLimit = min(use.memoryLimit, machineMemory())
	}
	return use, err
}

// remember returns the latest sample, and before it the newest one that is old enough for a rate between the two (the
// oldest as long as none is). Questions in quick succession thus get the rate of the last second or so.
func (source *statistics) remember(name string, use usage, now time.Time) []*v2.ContainerStats {
	latest := sample(use, now)
	source.mutex.Lock()
	defer source.mutex.Unlock()
	kept := append(source.samples[name], latest)
	for len(kept) > 1 && now.Sub(kept[1].Timestamp) >= sampleInterval {
		kept = kept[1:]
	}
	source.samples[name] = kept
	if len(kept) == 1 {
		latest.CpuInst = rateSinceCreation(use, now)
		return []*v2.ContainerStats{latest}
	}
	if latest.CpuInst = rate(kept[0], latest); latest.CpuInst == nil {
		latest.CpuInst = kept[len(kept)-2].CpuInst
	}
	return []*v2.ContainerStats{kept[0], latest}
}

func sample(use usage, now time.Time) *v2.ContainerStats {
	memory := use.memoryUsage()
	found := &v2.ContainerStats{
		Timestamp: now,
		Cpu:       &v1.CpuStats{Usage: use.cpuUsage()},
		Memory:    &memory,
		Processes: &v1.ProcessStats{ProcessCount: uint64(len(use.processes))},
	}
	if use.network != nil {
		found.Network = &v2.NetworkStats{Interfaces: use.network}
	}
	return found
}

// rateSinceCreation is the rate of a group that is seen for the first time. Without one the kubelet takes a container for
// terminated (pkg/kubelet/stats, isContainerTerminated), and takes the runtime's word, which may be 0, for its memory.
func rateSinceCreation(use usage, now time.Time) *v2.CpuInstStats {
	lifetime := now.Sub(use.created)
	if use.created.IsZero() || lifetime <= 0 {
		return nil
	}
	return &v2.CpuInstStats{Usage: v2.CpuInstUsage{Total: uint64(float64(use.cpu) / lifetime.Seconds())}}
}

// rate is the use of CPU between two samples in nanoseconds per second; nil when they say too little.
func rate(previous, latest *v2.ContainerStats) *v2.CpuInstStats {
	elapsed := latest.Timestamp.Sub(previous.Timestamp)
	if elapsed < sampleInterval || latest.Cpu.Usage.Total < previous.Cpu.Usage.Total {
		return nil
	}
	used := float64(latest.Cpu.Usage.Total - previous.Cpu.Usage.Total)
	return &v2.CpuInstStats{Usage: v2.CpuInstUsage{Total: uint64(used / elapsed.Seconds())}}
}

// forget drops the samples of groups that are gone.
func (source *statistics) forget(present map[string]v2.ContainerInfo) {
	source.mutex.Lock()
	defer source.mutex.Unlock()
	maps.DeleteFunc(source.samples, func(name string, _ []*v2.ContainerStats) bool {
		_, isPresent := present[name]
		return !isPresent
	})
}
