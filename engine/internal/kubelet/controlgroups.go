package kubelet

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/cgroups"
)

// noLimit is from where on a memory limit means none: version 1 writes the largest multiple of a page there.
const noLimit = 1 << 62

// containerDepth is how deep containers lie below the group of all pods at the most: in a pod's, which lies there
// directly or in one of a quality of service.
const containerDepth = 3

// controlGroups are the hierarchies that count CPU time and memory; the same one twice in version 2.
type controlGroups struct {
	unified bool
	cpu     string
	memory  string
}

func findControlGroups() controlGroups {
	if cgroups.IsCgroup2UnifiedMode() {
		return controlGroups{unified: true, cpu: "/sys/fs/cgroup", memory: "/sys/fs/cgroup"}
	}
	var found controlGroups
	// Without a mount the kubelet's own container manager says so and ends.
	found.cpu, _ = cgroups.FindCgroupMountpoint("", "cpuacct")
	found.memory, _ = cgroups.FindCgroupMountpoint("", "memory")
	return found
}

// podsGroup is the group of all pods, as the container manager names it below the configured root.
func podsGroup(root string) string { return path.Join("/", root, "kubepods") }

// isContainer tells the group of a container from one of pods: only the former lies in a pod's.
func isContainer(name string) bool { return strings.HasPrefix(path.Base(path.Dir(name)), "pod") }

// below lists the groups of containers, pods and their parents at and below a group, by name.
func (groups controlGroups) below(group string) []string {
	var found []string
	top := filepath.Join(groups.cpu, group)
	_ = filepath.WalkDir(top, func(place string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil // gone meanwhile, or a file
		}
		inside, _ := filepath.Rel(top, place)
		if inside != "." && strings.Count(inside, "/") >= containerDepth {
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

// usage reads a group. Raises fs.ErrNotExist when there is none of that name.
func (groups controlGroups) usage(name string) (usage, error) {
	if groups.unified {
		return groups.unifiedUsage(name)
	}
	cpuPlace, memoryPlace := filepath.Join(groups.cpu, name), filepath.Join(groups.memory, name)
	information, err := os.Stat(cpuPlace)
	if err != nil {
		return usage{}, err
	}
	cpu, err := number(cpuPlace, "cpuacct.usage")
	if err != nil {
		return usage{}, err
	}
	memory, err := number(memoryPlace, "memory.usage_in_bytes")
	if err != nil {
		return usage{}, err
	}
	limit, err := number(memoryPlace, "memory.limit_in_bytes")
	if err != nil {
		return usage{}, err
	}
	statistics := fields(memoryPlace, "memory.stat")
	return usage{
		created:     information.ModTime(),
		cpu:         cpu,
		memory:      memory,
		workingSet:  memory - min(statistics["total_inactive_file"], memory),
		residentSet: orElse(statistics, "total_rss", memory),
		memoryLimit: limited(limit),
	}, nil
}

func (groups controlGroups) unifiedUsage(name string) (usage, error) {
	place := filepath.Join(groups.cpu, name)
	information, err := os.Stat(place)
	if err != nil {
		return usage{}, err
	}
	memory, err := number(place, "memory.current")
	if err != nil {
		return usage{}, err
	}
	limit, err := number(place, "memory.max")
	if err != nil {
		return usage{}, err
	}
	statistics := fields(place, "memory.stat")
	return usage{
		created:     information.ModTime(),
		cpu:         fields(place, "cpu.stat")["usage_usec"] * uint64(time.Microsecond),
		memory:      memory,
		workingSet:  memory - min(statistics["inactive_file"], memory),
		residentSet: orElse(statistics, "anon", memory),
		memoryLimit: limited(limit),
	}, nil
}

func limited(limit uint64) uint64 {
	if limit > noLimit {
		return 0
	}
	return limit
}

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

func orElse(statistics map[string]uint64, name string, otherwise uint64) uint64 {
	if value, is := statistics[name]; is {
		return value
	}
	return otherwise
}
