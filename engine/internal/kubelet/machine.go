package kubelet

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/cadvisor/info/v1"
	v2 "github.com/google/cadvisor/info/v2"
	cadvisormachine "github.com/google/cadvisor/machine"
	"github.com/google/cadvisor/utils/sysfs"
	"github.com/google/cadvisor/utils/sysinfo"
	"golang.org/x/sys/unix"
)

// clockTick is USER_HZ, in which /proc/stat counts: 100 on every architecture that Go runs on.
const clockTick = time.Second / 100

// largestCapacity is more than any disk has. gVisor's overlay claims 2^63 bytes, of which the kubelet's percentages
// (pkg/kubelet/images, available*100/capacity) overflow: it would remove all images.
const largestCapacity = 1<<56 - 1<<10

// memoryInformation is /proc/meminfo in bytes (proc_meminfo(5)).
func memoryInformation() (map[string]uint64, error) {
	file, err := os.Open("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	found := map[string]uint64{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		if kibibytes, err := strconv.ParseUint(fields[1], 10, 64); err == nil {
			found[strings.TrimSuffix(fields[0], ":")] = kibibytes * 1024
		}
	}
	return found, lines.Err()
}

// machineUsage is the whole sandbox's: /proc/stat for the CPUs, /proc/meminfo for memory.
func machineUsage() (usage, error) {
	memory, err := memoryInformation()
	if err != nil {
		return usage{}, err
	}
	cpu, err := machineCPU()
	if err != nil {
		return usage{}, err
	}
	used := memory["MemTotal"] - min(memory["MemFree"], memory["MemTotal"])
	working := memory["MemTotal"] - min(memory["MemAvailable"], memory["MemTotal"])
	resident := memory["AnonPages"]
	if resident == 0 {
		resident = working
	}
	network, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		return usage{}, err
	}
	return usage{
		created: startTime(), cpu: cpu.busy, user: cpu.user, system: cpu.system, memory: used, workingSet: working,
		residentSet: resident, cache: memory["Cached"], swap: memory["SwapTotal"] - memory["SwapFree"],
		memoryLimit: memory["MemTotal"], swapLimit: memory["SwapTotal"], processes: allProcesses(), network: interfaces(network),
	}, nil
}

// allProcesses are those that /proc shows.
func allProcesses() []int {
	var found []int
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			found = append(found, pid)
		}
	}
	return found
}

// cpuTimes are nanoseconds that all CPUs together were busy, in user mode (nice included) and in the kernel's.
type cpuTimes struct{ busy, user, system uint64 }

// machineCPU reads the first line of proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal.
func machineCPU() (cpuTimes, error) {
	content, err := os.ReadFile("/proc/stat")
	if err != nil {
		return cpuTimes{}, err
	}
	line, _, _ := strings.Cut(string(content), "\n")
	fields := strings.Fields(line)
	if len(fields) < 5 || fields[0] != "cpu" {
		return cpuTimes{}, fmt.Errorf("/proc/stat starts with %q", line)
	}
	const columns = 8
	times := make([]uint64, columns)
	for i, field := range fields[1:min(len(fields), columns+1)] {
		ticks, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return cpuTimes{}, fmt.Errorf("/proc/stat: %w", err)
		}
		times[i] = ticks * uint64(clockTick)
	}
	user, system := times[0]+times[1], times[2]
	return cpuTimes{busy: user + system + times[5] + times[6] + times[7], user: user, system: system}, nil
}

// startTime is when the sandbox started, as /proc/1 tells.
func startTime() time.Time {
	information, err := os.Stat("/proc/1")
	if err != nil {
		return time.Time{}
	}
	return information.ModTime()
}

// machineInformation is what cAdvisor's own reports, as far as the sandbox tells it; CPUs of which it does not tell the
// place are cores of one socket.
func machineInformation() (*v1.MachineInfo, error) {
	memory, err := memoryInformation()
	if err != nil {
		return nil, err
	}
	processors, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil, err
	}
	system := sysfs.NewRealSysFs()
	pages, err := sysinfo.GetHugePagesInfo(system, "/sys/kernel/mm/hugepages/")
	if err != nil {
		return nil, fmt.Errorf("huge pages: %w", err)
	}
	frequency, _ := cadvisormachine.GetClockSpeed(processors) // not told everywhere
	identity := firstLine("/etc/machine-id")
	description := &v1.MachineInfo{
		Timestamp:        time.Now(),
		CPUVendorID:      cadvisormachine.GetCPUVendorID(processors),
		CpuFrequency:     frequency,
		NumCores:         runtime.NumCPU(),
		NumPhysicalCores: runtime.NumCPU(),
		NumSockets:       1,
		MemoryCapacity:   memory["MemTotal"],
		SwapCapacity:     memory["SwapTotal"],
		HugePages:        pages,
		Topology:         oneSocket(runtime.NumCPU(), memory["MemTotal"]),
		MachineID:        identity,
		SystemUUID:       identity,
		BootID:           firstLine("/proc/sys/kernel/random/boot_id"),
	}
	// cAdvisor complains at length where the kernel, as gVisor's, does not tell.
	if _, err := os.Stat("/sys/devices/system/cpu/cpu0/topology/physical_package_id"); err != nil {
		return description, nil
	}
	description.NumPhysicalCores = cadvisormachine.GetPhysicalCores(processors)
	description.NumSockets = cadvisormachine.GetSockets(processors)
	// CPUs that are there but not ours (containers with a set of CPUs) are no topology to assign from.
	if found, threads, err := cadvisormachine.GetTopology(system); err == nil && threads == runtime.NumCPU() {
		description.Topology = found
	}
	return description, nil
}

// oneSocket has each CPU as a core, and all memory.
func oneSocket(processors int, memory uint64) []v1.Node {
	node := v1.Node{Memory: memory}
	for each := range processors {
		node.Cores = append(node.Cores, v1.Core{Id: each, Threads: []int{each}})
	}
	return []v1.Node{node}
}

func versions() (*v1.VersionInfo, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, fmt.Errorf("uname: %w", err)
	}
	return &v1.VersionInfo{
		KernelVersion:      unix.ByteSliceToString(name.Release[:]),
		ContainerOsVersion: distribution("/etc/os-release"),
	}, nil
}

// distribution is PRETTY_NAME of os-release(5).
func distribution(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return "Linux"
	}
	for line := range strings.Lines(string(content)) {
		if value, is := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); is {
			return strings.Trim(value, `"'`)
		}
	}
	return "Linux"
}

func firstLine(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(content), "\n")
	return line
}

// fileSystem is statfs(2) of a path. Its device's name is made of st_dev: the kubelet compares names to learn whether
// images and volumes share a file system.
func fileSystem(path string) (v2.FsInfo, error) {
	var statistics unix.Statfs_t
	if err := unix.Statfs(path, &statistics); err != nil {
		return v2.FsInfo{}, fmt.Errorf("statfs %s: %w", path, err)
	}
	var status syscall.Stat_t
	if err := syscall.Stat(path, &status); err != nil {
		return v2.FsInfo{}, fmt.Errorf("stat %s: %w", path, err)
	}
	block := uint64(statistics.Bsize)
	used := (statistics.Blocks - statistics.Bfree) * block
	found := v2.FsInfo{
		Timestamp:  time.Now(),
		Device:     fmt.Sprintf("device-%d", status.Dev),
		Mountpoint: path,
		Capacity:   min(statistics.Blocks*block, largestCapacity),
		Available:  min(statistics.Bavail*block, largestCapacity-min(used, largestCapacity)),
		Usage:      used,
	}
	if statistics.Files > 0 { // else it counts none, which is not the same as having none left
		found.Inodes, found.InodesFree = &statistics.Files, &statistics.Ffree
	}
	return found, nil
}
