package kubelet

import (
	"context"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	"k8s.io/kubernetes/pkg/kubelet"
	"k8s.io/kubernetes/pkg/kubelet/cm"
)

// a kubelet's options as `kins up --kubelet no-cgroups` makes them.
func withoutGroups(t *testing.T, change func(*options.KubeletServer)) *options.KubeletServer {
	t.Helper()
	configuration, err := options.NewKubeletConfiguration()
	if err != nil {
		t.Fatal(err)
	}
	server := &options.KubeletServer{KubeletFlags: *options.NewKubeletFlags(), KubeletConfiguration: *configuration}
	server.RootDirectory = t.TempDir()
	server.CgroupsPerQOS, server.EnforceNodeAllocatable, server.CgroupRoot = false, nil, "/kins"
	server.EvictionHard = map[string]string{"memory.available": "100Mi", "nodefs.available": "10%"}
	change(server)
	return server
}

func newManager(t *testing.T, change func(*options.KubeletServer)) (*containerManager, error) {
	t.Helper()
	server := withoutGroups(t, change)
	dependencies := &kubelet.Dependencies{}
	dependencies.CAdvisorInterface = newStatistics(server, dependencies)
	return newContainerManager(context.Background(), server, dependencies)
}

func TestWhatOnlyControlGroupsCanDoIsRefused(t *testing.T) {
	for word, change := range map[string]func(*options.KubeletServer){
		"cgroupsPerQOS":          func(server *options.KubeletServer) { server.CgroupsPerQOS = true },
		"enforceNodeAllocatable": func(server *options.KubeletServer) { server.EnforceNodeAllocatable = []string{"pods"} },
		"cpuManagerPolicy":       func(server *options.KubeletServer) { server.CPUManagerPolicy = "static" },
		"memoryManagerPolicy":    func(server *options.KubeletServer) { server.MemoryManagerPolicy = "Static" },
		"kubeReserved":           func(server *options.KubeletServer) { server.KubeReserved = map[string]string{"cpu": "-1"} },
	} {
		if _, err := newManager(t, change); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", word, err)
		}
	}
}

func TestPodsGetWhatIsNotReserved(t *testing.T) {
	manager, err := newManager(t, func(server *options.KubeletServer) {
		server.KubeReserved = map[string]string{"memory": "200Mi", "cpu": "100m"}
		server.SystemReserved = map[string]string{"memory": "50Mi", "pid": "100"}
	})
	if err != nil {
		t.Fatal(err)
	}
	reserved := manager.GetNodeAllocatableReservation()
	if memory := reserved[v1.ResourceMemory]; memory.Cmp(resource.MustParse("350Mi")) != 0 {
		t.Errorf("reserved memory is %s", memory.String())
	}
	if cpu := reserved[v1.ResourceCPU]; cpu.MilliValue() != 100 {
		t.Errorf("reserved CPU is %s", cpu.String())
	}
	if _, has := reserved["pid"]; has {
		t.Error("what is no capacity is reserved")
	}
	absolute, capacity := manager.GetNodeAllocatableAbsolute(), manager.GetCapacity(true)
	given, total := absolute[v1.ResourceMemory], capacity[v1.ResourceMemory]
	total.Sub(resource.MustParse("250Mi"))
	if given.Cmp(total) != 0 {
		t.Errorf("pods get %s of %s", given.String(), total.String())
	}
}

func TestMoreThanThereIsCannotBeReserved(t *testing.T) {
	manager, err := newManager(t, func(server *options.KubeletServer) {
		server.SystemReserved = map[string]string{"cpu": "100k"}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := manager.checkReservation(); err == nil || !strings.Contains(err.Error(), "cpu") {
		t.Errorf("got %v", err)
	}
}

func TestContainersHaveTheConfiguredParent(t *testing.T) {
	manager, err := newManager(t, func(*options.KubeletServer) {})
	if err != nil {
		t.Fatal(err)
	}
	if _, parent := manager.NewPodContainerManager().GetPodContainerName(&v1.Pod{}); parent != "/kins" {
		t.Errorf("the parent is %q", parent)
	}
	// Upstream looks behind each of these when it makes a pod's status or resizes it.
	limit, err := manager.NewPodContainerManager().GetPodCgroupConfig(&v1.Pod{}, v1.ResourceMemory)
	if err != nil || limit.Memory == nil || limit.CPUShares == nil || limit.CPUPeriod == nil || limit.CPUQuota == nil {
		t.Errorf("got %v, %v", limit, err)
	}
	if cm.MemoryLimitsFromConfig(limit) != nil || cm.CPULimitsFromConfig(limit) != nil {
		t.Errorf("%v is a limit", limit)
	}
	if is, uid := manager.NewPodContainerManager().IsPodCgroup("/kins/pod12-34"); !is || uid != "12-34" {
		t.Errorf("a pod's name is %v, of %q", is, uid)
	}
}
