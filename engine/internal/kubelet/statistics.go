package kubelet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"sync"
	"time"

	v1 "github.com/google/cadvisor/info/v1"
	v2 "github.com/google/cadvisor/info/v2"
	criapi "k8s.io/cri-api/pkg/apis"
	"k8s.io/kubelet/pkg/types"
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
	podsGroup     string
	groups        controlGroups
	images        func() criapi.ImageManagerService

	mutex   sync.Mutex
	samples map[string][]*v2.ContainerStats
}

var _ cadvisor.Interface = (*statistics)(nil)

// newStatistics looks into `dependencies` only when asked: the connection to the runtime is made after this.
func newStatistics(server *options.KubeletServer, dependencies *kubelet.Dependencies) *statistics {
	return &statistics{
		rootDirectory: server.RootDirectory,
		podsGroup:     podsGroup(server.CgroupRoot),
		groups:        findControlGroups(),
		images:        func() criapi.ImageManagerService { return dependencies.RemoteImageService },
		samples:       map[string][]*v2.ContainerStats{},
	}
}

// Start has nothing to start: samples are taken when they are asked for.
func (source *statistics) Start() error { return nil }

// MachineInfo describes what the node offers.
func (source *statistics) MachineInfo() (*v1.MachineInfo, error) { return machine() }

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

// GetRequestedContainersInfo serves /metrics/cadvisor alone, which is empty here.
func (source *statistics) GetRequestedContainersInfo(string, v2.RequestOptions) (map[string]*v1.ContainerInfo, error) {
	return map[string]*v1.ContainerInfo{}, nil
}

// ContainerInfoV2 answers for "/" (the machine) and for containers, pods and groups of them by their control group's
// name; recursively for all of these. A name that is no control group is an error.
func (source *statistics) ContainerInfoV2(name string, request v2.RequestOptions) (map[string]v2.ContainerInfo, error) {
	information, err := source.information(name)
	if err != nil {
		return nil, err
	}
	found := map[string]v2.ContainerInfo{name: information}
	if !request.Recursive {
		return found, nil
	}
	for _, group := range source.groups.below(source.podsGroup) {
		// What went away meanwhile is left out.
		if information, err := source.information(group); err == nil {
			found[group] = information
		}
	}
	if name == "/" {
		source.forget(found)
	}
	return found, nil
}

func (source *statistics) information(name string) (v2.ContainerInfo, error) {
	var use usage
	var err error
	if name == "/" {
		use, err = machineUsage()
	} else {
		use, err = source.groups.usage(name)
	}
	if err != nil {
		return v2.ContainerInfo{}, fmt.Errorf("no statistics of %q: %w", name, err)
	}
	return v2.ContainerInfo{
		Spec: v2.ContainerSpec{
			CreationTime: use.created,
			Labels:       labels(name),
			HasCpu:       true,
			HasMemory:    true,
			Memory:       v2.MemorySpec{Limit: use.memoryLimit},
		},
		Stats: source.remember(name, use, time.Now()),
	}, nil
}

// labels make a container of a group, for the kubelet (pkg/kubelet/stats, getCRICadvisorStats). It finds the container
// that it means by the group's name; of the labels it asks that they are there, and that no two containers share them.
func labels(name string) map[string]string {
	if !isContainer(name) {
		return nil
	}
	pod := path.Base(path.Dir(name))
	return map[string]string{
		types.KubernetesPodNameLabel:       pod,
		types.KubernetesPodNamespaceLabel:  pod,
		types.KubernetesContainerNameLabel: path.Base(name),
	}
}

// remember returns the latest sample, and before it the newest one that is old enough for a rate between the two (the
// oldest as long as none is). Questions in quick succession thus get the rate of the last second or so.
func (source *statistics) remember(name string, use usage, now time.Time) []*v2.ContainerStats {
	latest := &v2.ContainerStats{
		Timestamp: now,
		Cpu:       &v1.CpuStats{Usage: v1.CpuUsage{Total: use.cpu}},
		Memory:    &v1.MemoryStats{Usage: use.memory, WorkingSet: use.workingSet, RSS: use.residentSet},
	}
	source.mutex.Lock()
	defer source.mutex.Unlock()
	kept := append(source.samples[name], latest)
	for len(kept) > 1 && now.Sub(kept[1].Timestamp) >= sampleInterval {
		kept = kept[1:]
	}
	source.samples[name] = kept
	if len(kept) == 1 {
		return []*v2.ContainerStats{latest}
	}
	latest.CpuInst = rate(kept[0], latest)
	return []*v2.ContainerStats{kept[0], latest}
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
