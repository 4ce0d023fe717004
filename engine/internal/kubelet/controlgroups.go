package kubelet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/cadvisor/info/v1"
	"github.com/opencontainers/cgroups"
)

// noLimit is from where on a memory limit means none: version 1 writes the largest multiple of a page there.
const noLimit = 1 << 62

// containerDepth is how deep containers lie below the group of all pods at the most: in a pod's, which lies there
// directly or in one of a quality of service.
const containerDepth = 3

// controlGroups are the hierarchies that count CPU time and memory, the same one twice in version 2, and that of version
// 1 that shares CPUs out. They are empty where nothing is mounted.
type controlGroups struct {
	unified bool
	cpu     string
	memory  string
	shares  string
}

func findControlGroups() controlGroups {
	if cgroups.IsCgroup2UnifiedMode() {
		return controlGroups{unified: true, cpu: "/sys/fs/cgroup", memory: "/sys/fs/cgroup"}
	}
	var found controlGroups
	// Without a mount upstream's container manager says so and ends; ours goes on.
	found.cpu, _ = cgroups.FindCgroupMountpoint("", "cpuacct")
	found.memory, _ = cgroups.FindCgroupMountpoint("", "memory")
	found.shares, _ = cgroups.FindCgroupMountpoint("", "cpu")
	return found
}

// below lists groups at and below one, by name, down to a depth.
func (groups controlGroups) below(group string, depth int) []string {
	var found []string
	if groups.cpu == "" {
		return found
	}
	top := filepath.Join(groups.cpu, group)
	_ = filepath.WalkDir(top, func(place string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil // gone meanwhile, or a file
		}
		inside, _ := filepath.Rel(top, place)
		if inside != "." && strings.Count(inside, "/") >= depth {
			return filepath.SkipDir
		}
		name := path.Join(group, filepath.ToSlash(inside))
		found = append(found, name)
		if isContainer(name) {
			return filepath.SkipDir // what it made itself
		}
		return nil
	})
	return found
}

// isContainer tells the group of a container from one of pods, where those have groups: only the former lies in a pod's.
func isContainer(name string) bool { return strings.HasPrefix(path.Base(path.Dir(name)), "pod") }

// usage reads a group. Raises fs.ErrNotExist when there is none of that name.
func (groups controlGroups) usage(name string) (usage, error) {
	place := filepath.Join(groups.cpu, name)
	information, err := os.Stat(place)
	if err != nil {
		return usage{}, fmt.Errorf("no statistics of %q: %w", name, err)
	}
	found := usage{created: information.ModTime(), swapLimit: unlimited, processes: groups.processes(name)}
	if groups.unified {
		err = readUnified(place, &found)
	} else {
		err = readSeparate(place, filepath.Join(groups.memory, name), &found)
	}
	if err != nil {
		return usage{}, fmt.Errorf("no statistics of %q: %w", name, err)
	}
	return found, nil
}

// readSeparate reads version 1's files (cgroup-v1/cpuacct.rst, memory.rst).
func readSeparate(cpuPlace, memoryPlace string, into *usage) error {
	var err error
	if into.cpu, err = number(cpuPlace, "cpuacct.usage"); err != nil {
		return err
	}
	if into.memory, err = number(memoryPlace, "memory.usage_in_bytes"); err != nil {
		return err
	}
	limit, err := number(memoryPlace, "memory.limit_in_bytes")
	if err != nil {
		return err
	}
	times, statistics := fields(cpuPlace, "cpuacct.stat"), fields(memoryPlace, "memory.stat")
	into.user, into.system = times["user"]*uint64(clockTick), times["system"]*uint64(clockTick)
	into.workingSet = into.memory - min(statistics["total_inactive_file"], into.memory)
	into.residentSet = orResident(statistics, "total_rss", into)
	into.cache, into.swap = statistics["total_cache"], statistics["total_swap"]
	into.pageFaults, into.majorPageFaults = statistics["total_pgfault"], statistics["total_pgmajfault"]
	into.memoryLimit = limited(limit)
	return nil
}

// readUnified reads version 2's files (cgroup-v2.rst).
func readUnified(place string, into *usage) error {
	var err error
	if into.memory, err = number(place, "memory.current"); err != nil {
		return err
	}
	limit, err := number(place, "memory.max")
	if err != nil {
		return err
	}
	times, statistics := fields(place, "cpu.stat"), fields(place, "memory.stat")
	into.cpu = times["usage_usec"] * uint64(time.Microsecond)
	into.user = times["user_usec"] * uint64(time.Microsecond)
	into.system = times["system_usec"] * uint64(time.Microsecond)
	into.workingSet = into.memory - min(statistics["inactive_file"], into.memory)
	into.residentSet = orResident(statistics, "anon", into)
	into.cache = statistics["file"]
	into.swap, _ = number(place, "memory.swap.current") // there is none without swap
	into.pageFaults, into.majorPageFaults = statistics["pgfault"], statistics["pgmajfault"]
	into.memoryLimit = limited(limit)
	return nil
}

// orResident is a statistic, or where the kernel keeps none, as in gVisor, what the processes of the group have.
func orResident(statistics map[string]uint64, name string, of *usage) uint64 {
	if value, is := statistics[name]; is {
		return value
	}
	return min(residentSet(of.processes), of.memory)
}

// processes lists those in a group and in the ones below it.
func (groups controlGroups) processes(name string) []int {
	var found []int
	_ = filepath.WalkDir(filepath.Join(groups.memory, name), func(place string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil
		}
		content, _ := os.ReadFile(filepath.Join(place, "cgroup.procs"))
		for line := range strings.Lines(string(content)) {
			if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 {
				found = append(found, pid)
			}
		}
		return nil
	})
	return found
}

// share is what a group may have of the CPUs: its weight and its quota in each period, in microseconds.
func (groups controlGroups) share(name string) v1.CpuSpec {
	if groups.unified || groups.shares == "" || name == "/" {
		return v1.CpuSpec{}
	}
	place := filepath.Join(groups.shares, name)
	weight, _ := number(place, "cpu.shares")
	period, _ := number(place, "cpu.cfs_period_us")
	quota, _ := number(place, "cpu.cfs_quota_us") // -1, no number here, is none
	return v1.CpuSpec{Limit: weight, Period: period, Quota: quota}
}

// limited knows what is no limit: a number that means none, or as in gVisor all that the machine has.
func limited(limit uint64) uint64 {
	if limit > noLimit || limit >= machineMemory() {
		return unlimited
	}
	return limit
}

var machineMemory = sync.OnceValue(func() uint64 {
	memory, _ := memoryInformation()
	return memory["MemTotal"]
})

// number reads a file with one number; "max" is the largest.
func number(place, file string) (uint64, error) {
	content, err := os.ReadFile(filepath.Join(place, file))
	if err != nil {
		return 0, err
	}
	text := strings.TrimSpace(string(content))
	if text == "max" {
		return ^uint64(0), nil
	}
	value, err := strconv.ParseUint(text, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return ^uint64(0), nil
	}
	return value, err
}

// fields reads a file of lines "name number"; empty where the kernel has no such file, as gVisor has no memory.stat.
func fields(place, file string) map[string]uint64 {
	found := map[string]uint64{}
	content, err := os.ReadFile(filepath.Join(place, file))
	if err != nil {
		return found
	}
	for line := range strings.Lines(string(content)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if value, err := strconv.ParseUint(text, 10, 64); err == nil {
			found[name] = value
		}
	}
	return found
}
