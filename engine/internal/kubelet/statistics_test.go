package kubelet

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	v1 "github.com/google/cadvisor/info/v1"
	v2 "github.com/google/cadvisor/info/v2"
)

func write(t *testing.T, directory string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(directory, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// versionOne lays out what gVisor's hierarchies look like: no memory.stat, no per-CPU file.
func versionOne(t *testing.T, names ...string) controlGroups {
	t.Helper()
	root := t.TempDir()
	groups := controlGroups{cpu: filepath.Join(root, "cpuacct"), memory: filepath.Join(root, "memory")}
	for _, name := range names {
		write(t, filepath.Join(groups.cpu, name), map[string]string{"cpuacct.usage": "2000000000\n"})
		write(t, filepath.Join(groups.memory, name), map[string]string{
			"memory.usage_in_bytes": "4096\n", "memory.limit_in_bytes": "9223372036854775807\n",
		})
	}
	return groups
}

func newTestStatistics(groups controlGroups, known ...identity) *statistics {
	return &statistics{
		rootDirectory: "/",
		place:         newPlace(true, "/kins"),
		groups:        groups,
		inventory: func() inventory {
			found := inventory{}
			for _, each := range known {
				found[each.id] = each
			}
			return found
		},
		samples: map[string][]*v2.ContainerStats{},
	}
}

func TestAPodsOwnFigures(t *testing.T) {
	const pod = "/kins/kubepods/burstable/pod1"
	source := newTestStatistics(versionOne(t, pod))
	found, err := source.ContainerInfoV2(pod, v2.RequestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	latest := found[pod].Stats[len(found[pod].Stats)-1]
	if len(found) != 1 || latest.Cpu.Usage.Total != 2e9 || latest.Memory.Usage != 4096 || latest.Memory.WorkingSet != 4096 {
		t.Errorf("got %d entries, CPU %v, memory %v", len(found), latest.Cpu, latest.Memory)
	}
	if limit := found[pod].Spec.Memory.Limit; limit != unlimited {
		t.Errorf("no limit is reported as %d", limit)
	}
}

func TestAnUnknownNameIsAnError(t *testing.T) {
	source := newTestStatistics(versionOne(t))
	if _, err := source.ContainerInfoV2("/kins/kubepods/podX", v2.RequestOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestTheMachineRecursively(t *testing.T) {
	groups := versionOne(
		t, "/kins/kubepods", "/kins/kubepods/pod1", "/kins/kubepods/besteffort", "/kins/kubepods/besteffort/pod2",
		"/kins/kubepods/besteffort/pod2/container", "/kins/kubepods/besteffort/pod2/container/own", "/other",
		"/kins/kubepods/pod1/container", "/kins/kubepods/pod1/container/own",
	)
	known := identity{id: "container", container: "main", pod: "working", namespace: "default", uid: "1"}
	found, err := newTestStatistics(groups, known).ContainerInfoV2("/", v2.RequestOptions{Recursive: true})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{
		"/", "/kins/kubepods", "/kins/kubepods/besteffort", "/kins/kubepods/besteffort/pod2",
		"/kins/kubepods/besteffort/pod2/container", "/kins/kubepods/pod1", "/kins/kubepods/pod1/container",
	}
	if !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	for name, information := range found {
		// The kubelet takes for a container what has them.
		if labelled := len(information.Spec.Labels) > 0; labelled != (filepath.Base(name) == "container") {
			t.Errorf("%s has labels %v", name, information.Spec.Labels)
		}
		// It takes for ended what has no rate, and the runtime's word for what it uses.
		if latest := information.Stats[len(information.Stats)-1]; latest.CpuInst == nil {
			t.Errorf("%s has no rate at first sight", name)
		}
	}
	if found["/"].Spec.Memory.Limit == 0 {
		t.Error("the machine has no memory")
	}
	if limit := found["/kins/kubepods"].Spec.Memory.Limit; limit != machineMemory() {
		t.Errorf("all pods together may have %d", limit)
	}
}

func TestRates(t *testing.T) {
	source := newTestStatistics(controlGroups{})
	start := time.Now()
	if first := source.remember("/x", usage{cpu: 0}, start); len(first) != 1 || first[0].CpuInst != nil {
		t.Errorf("one sample of nobody knows what age cannot have a rate: %v", first)
	}
	aged := usage{cpu: 3e9, created: start.Add(-2 * time.Second)}
	if first := source.remember("/aged", aged, start); first[0].CpuInst.Usage.Total != 1.5e9 {
		t.Errorf("3 s of CPU in 2 s of life are %v", first[0].CpuInst)
	}
	second := source.remember("/x", usage{cpu: 5e8}, start.Add(time.Second))
	if len(second) != 2 || second[1].CpuInst.Usage.Total != 5e8 {
		t.Errorf("half a core for a second is %v", second[1].CpuInst)
	}
	// A question right after another must not make a rate of a millisecond: 0.5 s of CPU more in 1.001 s.
	third := source.remember("/x", usage{cpu: 1e9}, start.Add(1001*time.Millisecond))
	if got := third[1].CpuInst.Usage.Total; len(third) != 2 || got < 9e8 || got > 1e9 {
		t.Errorf("a second's rate is %v of %v", got, third)
	}
	// Nor may many in a row make one of all the time since the first: idle from here on.
	var last []*v2.ContainerStats
	for elapsed := 1100 * time.Millisecond; elapsed <= 5*time.Second; elapsed += 100 * time.Millisecond {
		last = source.remember("/x", usage{cpu: 1e9}, start.Add(elapsed))
	}
	if len(last) != 2 || last[1].CpuInst == nil || last[1].CpuInst.Usage.Total != 0 {
		t.Errorf("seconds without use have the rate %v", last[len(last)-1].CpuInst)
	}
	if count := len(source.samples["/x"]); count > 12 {
		t.Errorf("%d samples are kept", count)
	}
	source.forget(nil)
	if len(source.samples) != 0 {
		t.Errorf("samples of what is gone: %v", source.samples)
	}
}

func TestVersionTwo(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "pod1"), map[string]string{
		"cpu.stat": "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n", "memory.current": "8192", "memory.max": "65536",
		"memory.stat": "anon 2048\nfile 4096\ninactive_file 1024\npgfault 7\npgmajfault 2\n", "cgroup.procs": "17\n18\n",
	})
	found, err := controlGroups{unified: true, cpu: root, memory: root}.usage("/pod1")
	if err != nil {
		t.Fatal(err)
	}
	found.created = time.Time{}
	want := usage{
		cpu: 1500000, user: 1000000, system: 500000, memory: 8192, workingSet: 7168, residentSet: 2048, cache: 4096,
		pageFaults: 7, majorPageFaults: 2, memoryLimit: 65536, swapLimit: unlimited, processes: []int{17, 18},
	}
	if !reflect.DeepEqual(found, want) {
		t.Errorf("got %+v, want %+v", found, want)
	}
}

func TestMachine(t *testing.T) {
	description, err := machineInformation()
	if err != nil || description.MemoryCapacity == 0 || description.NumCores == 0 {
		t.Errorf("machine: %v, %v", description, err)
	}
	threads := 0
	for _, node := range description.Topology {
		for _, core := range node.Cores {
			threads += len(core.Threads)
		}
	}
	if threads != description.NumCores {
		t.Errorf("%d of %d CPUs have a place", threads, description.NumCores)
	}
	before, err := machineUsage()
	if err != nil || before.cpu == 0 || before.workingSet == 0 || before.workingSet > before.memoryLimit {
		t.Errorf("usage: %+v, %v", before, err)
	}
	if version, err := versions(); err != nil || version.KernelVersion == "" || version.ContainerOsVersion == "" {
		t.Errorf("versions: %v, %v", version, err)
	}
}

func TestFileSystems(t *testing.T) {
	here, err := fileSystem(t.TempDir())
	if err != nil || here.Capacity == 0 || here.Device == "" {
		t.Errorf("%+v, %v", here, err)
	}
	again, err := fileSystem(t.TempDir())
	if err != nil || again.Device != here.Device {
		t.Errorf("two directories of one file system have devices %q and %q (%v)", here.Device, again.Device, err)
	}
	// proc counts no inodes, and has therefore none left that could be told.
	if proc, err := fileSystem("/proc"); err != nil || proc.Inodes != nil || proc.InodesFree != nil {
		t.Errorf("%+v, %v", proc, err)
	}
	if _, err := fileSystem("/absent"); err == nil {
		t.Error("an absent path has a file system")
	}
}

// Without control groups of their own, pods are the sum of their containers.
func TestFlatGroups(t *testing.T) {
	groups := versionOne(t, "/kins", "/kins/a", "/kins/b", "/kins/other", "/kins/c")
	source := newTestStatistics(
		groups,
		identity{id: "a", sandbox: true, pod: "one", namespace: "default", uid: "1"},
		identity{id: "b", container: "main", pod: "one", namespace: "default", uid: "1"},
		identity{id: "c", sandbox: true, pod: "two", namespace: "default", uid: "2"},
	)
	source.place = newPlace(false, "/kins")
	found, err := source.ContainerInfoV2("/", v2.RequestOptions{Recursive: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, memory := range map[string]uint64{
		"/kins": 4096, "/kins/a": 4096, "/kins/b": 4096, "/kins/c": 4096, "/kins/pod1": 8192, "/kins/pod2": 4096,
	} {
		if each, is := found[name]; !is || each.Stats[0].Memory.Usage != memory {
			t.Errorf("%s: %v", name, each.Stats)
		}
	}
	if _, is := found["/kins/other"]; is {
		t.Error("a group that is no container's is counted as one")
	}
	if newPlace(false, "").top != "/k8s.io" {
		t.Error("containerd's own place is not looked at")
	}
}

// What Prometheus gets of a container, and by which labels it is found.
func TestMetrics(t *testing.T) {
	const name = "/kins/kubepods/pod1/container"
	groups := versionOne(t, "/kins/kubepods", "/kins/kubepods/pod1", name)
	write(t, filepath.Join(groups.cpu, name), map[string]string{"cpuacct.stat": "user 120\nsystem 80\n"})
	own := strconv.Itoa(os.Getpid())
	write(t, filepath.Join(groups.memory, name), map[string]string{
		"cgroup.procs": own + "\n", "memory.usage_in_bytes": "123456789012\n",
	})
	known := identity{id: "container", container: "main", pod: "working", namespace: "default", uid: "1", image: "shell:1"}
	found, err := newTestStatistics(groups, known).GetRequestedContainersInfo("/", v2.RequestOptions{Recursive: true})
	if err != nil {
		t.Fatal(err)
	}
	container := found[name]
	if container == nil || container.Spec.Image != "shell:1" || container.Aliases[0] != "container" ||
		container.Spec.Labels["io.kubernetes.pod.name"] != "working" {
		t.Fatalf("%+v", container)
	}
	latest := container.Stats[0]
	if use := latest.Cpu.Usage; use.Total != 2e9 || use.User != 1.2e9 || use.System != 0.8e9 {
		t.Errorf("CPU: %+v", use)
	}
	// gVisor has no memory.stat: the resident set is that of the processes.
	if latest.Memory.WorkingSet != 123456789012 || latest.Memory.RSS < 1<<20 || latest.Memory.RSS > 1<<34 {
		t.Errorf("memory: %+v", latest.Memory)
	}
	if have := latest.Processes; have.ProcessCount != 1 || have.FdCount < 3 || have.ThreadsCurrent < 1 {
		t.Errorf("processes: %+v", have)
	}
}

func TestTrafficOfAPod(t *testing.T) {
	found := interfaces([]byte(`Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       1       2    3    4    0     0          0         0        5       6    7    8    0     0       0          0
  eth0:      11      12   13   14    0     0          0         0       15      16   17   18    0     0       0          0
 kins0:      21      22   23   24    0     0          0         0       25      26   27   28    0     0       0          0
`))
	want := v1.InterfaceStats{
		Name: "eth0", RxBytes: 11, RxPackets: 12, RxErrors: 13, RxDropped: 14,
		TxBytes: 15, TxPackets: 16, TxErrors: 17, TxDropped: 18,
	}
	if len(found) != 1 || found[0] != want {
		t.Errorf("got %+v", found)
	}
	if shared := networkOf([]int{os.Getpid()}); shared != nil {
		t.Errorf("the node's own traffic is a pod's: %v", shared)
	}
}

func TestWhatIsNoLimit(t *testing.T) {
	for limit, want := range map[uint64]uint64{1 << 20: 1 << 20, machineMemory(): unlimited, 9223372036854771712: unlimited} {
		if got := limited(limit); got != want {
			t.Errorf("%d is the limit %d", limit, got)
		}
	}
}
