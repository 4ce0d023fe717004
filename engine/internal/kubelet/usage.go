package kubelet

import (
	"math"
	"slices"
	"time"

	v1 "github.com/google/cadvisor/info/v1"
)

// unlimited is a limit that cAdvisor and the kubelet take for none (pkg/kubelet/stats, isMemoryUnlimited).
const unlimited = math.MaxInt64

// usage is one reading. CPU times are in nanoseconds, sizes in bytes; a limit may be unlimited. network is nil where none
// is counted.
type usage struct {
	created         time.Time
	cpu             uint64
	user            uint64
	system          uint64
	memory          uint64
	workingSet      uint64
	residentSet     uint64
	cache           uint64
	swap            uint64
	pageFaults      uint64
	majorPageFaults uint64
	memoryLimit     uint64
	swapLimit       uint64
	processes       []int
	network         []v1.InterfaceStats
}

func (use usage) cpuUsage() v1.CpuUsage {
	return v1.CpuUsage{Total: use.cpu, User: use.user, System: use.system}
}

func (use usage) memoryUsage() v1.MemoryStats {
	faults := v1.MemoryStatsMemoryData{Pgfault: use.pageFaults, Pgmajfault: use.majorPageFaults}
	return v1.MemoryStats{
		Usage: use.memory, WorkingSet: use.workingSet, RSS: use.residentSet, Cache: use.cache, Swap: use.swap,
		ContainerData: faults, HierarchicalData: faults,
	}
}

// plus is the use of two groups together. It has no limit, and the network of whichever counts one: a pod's containers
// share it.
func (use usage) plus(other usage) usage {
	total := usage{
		created:         use.created,
		cpu:             use.cpu + other.cpu,
		user:            use.user + other.user,
		system:          use.system + other.system,
		memory:          use.memory + other.memory,
		workingSet:      use.workingSet + other.workingSet,
		residentSet:     use.residentSet + other.residentSet,
		cache:           use.cache + other.cache,
		swap:            use.swap + other.swap,
		pageFaults:      use.pageFaults + other.pageFaults,
		majorPageFaults: use.majorPageFaults + other.majorPageFaults,
		processes:       slices.Concat(use.processes, other.processes),
		memoryLimit:     unlimited,
		swapLimit:       unlimited,
		network:         use.network,
	}
	if total.created.IsZero() || (!other.created.IsZero() && other.created.Before(total.created)) {
		total.created = other.created
	}
	if total.network == nil {
		total.network = other.network
	}
	return total
}
