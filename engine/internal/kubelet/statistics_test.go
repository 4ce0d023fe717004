package kubelet

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

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

func newTestStatistics(groups controlGroups) *statistics {
	return &statistics{
		rootDirectory: "/", podsGroup: "/kins/kubepods", groups: groups, samples: map[string][]*v2.ContainerStats{},
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
	if limit := found[pod].Spec.Memory.Limit; limit != 0 {
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
	found, err := newTestStatistics(groups).ContainerInfoV2("/", v2.RequestOptions{Recursive: true})
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
	}
	if found["/"].Spec.Memory.Limit == 0 {
		t.Error("the machine has no memory")
	}
}

func TestRates(t *testing.T) {
	source := newTestStatistics(controlGroups{})
	start := time.Now()
	if first := source.remember("/x", usage{cpu: 0}, start); len(first) != 1 || first[0].CpuInst != nil {
		t.Errorf("one sample cannot have a rate: %v", first)
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
		"cpu.stat": "usage_usec 1500\nuser_usec 1000\n", "memory.current": "8192", "memory.max": "65536",
		"memory.stat": "anon 2048\ninactive_file 1024\n",
	})
	found, err := controlGroups{unified: true, cpu: root, memory: root}.usage("/pod1")
	if err != nil {
		t.Fatal(err)
	}
	found.created = time.Time{}
	want := usage{cpu: 1500000, memory: 8192, workingSet: 7168, residentSet: 2048, memoryLimit: 65536}
	if found != want {
		t.Errorf("got %+v, want %+v", found, want)
	}
}

func TestMachine(t *testing.T) {
	description, err := machine()
	if err != nil || description.MemoryCapacity == 0 || description.NumCores == 0 {
		t.Errorf("machine: %v, %v", description, err)
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
	if _, err := fileSystem("/absent"); err == nil {
		t.Error("an absent path has a file system")
	}
}
