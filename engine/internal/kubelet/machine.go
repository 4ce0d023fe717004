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
	"golang.org/x/sys/unix"
)

// clockTick is USER_HZ, in which /proc/stat counts: 100 on every architecture that Go runs on.
const clockTick = time.Second / 100

// usage is one reading. cpu is in nanoseconds, the others in bytes; memoryLimit 0 means none.
type usage struct {
	created     time.Time
	cpu         uint64
	memory      uint64
	workingSet  uint64
	residentSet uint64
	memoryLimit uint64
}

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
	return usage{
		created: startTime(), cpu: cpu, memory: used, workingSet: working, residentSet: resident,
		memoryLimit: memory["MemTotal"],
	}, nil
}

// machineCPU is the time that all CPUs were busy: user, nice, system, irq, softirq and steal of proc_stat(5).
func machineCPU() (uint64, error) {
	content, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(content), "\n")
	fields := strings.Fields(line)
	if len(fields) < 5 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat starts with %q", line)
	}
	const idle, ioWait, guest = 4, 5, 9
	var busy uint64
	for i, field := range fields[1:min(len(fields), guest)] {
		ticks, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		if i+1 != idle && i+1 != ioWait {
			busy += ticks
		}
	}
	return busy * uint64(clockTick), nil
}

// startTime is when the sandbox started, as /proc/1 tells.
func startTime() time.Time {
	information, err := os.Stat("/proc/1")
	if err != nil {
		return time.Time{}
	}
	return information.ModTime()
}

func machine() (*v1.MachineInfo, error) {
	memory, err := memoryInformation()
	if err != nil {
		return nil, err
	}
	identity := firstLine("/etc/machine-id")
	return &v1.MachineInfo{
		Timestamp:        time.Now(),
		NumCores:         runtime.NumCPU(),
		NumPhysicalCores: runtime.NumCPU(),
		NumSockets:       1,
		MemoryCapacity:   memory["MemTotal"],
		SwapCapacity:     memory["SwapTotal"],
		MachineID:        identity,
		SystemUUID:       identity,
		BootID:           firstLine("/proc/sys/kernel/random/boot_id"),
	}, nil
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
	return v2.FsInfo{
		Timestamp:  time.Now(),
		Device:     fmt.Sprintf("device-%d", status.Dev),
		Mountpoint: path,
		Capacity:   statistics.Blocks * block,
		Available:  statistics.Bavail * block,
		Usage:      (statistics.Blocks - statistics.Bfree) * block,
		Inodes:     &statistics.Files,
		InodesFree: &statistics.Ffree,
	}, nil
}
