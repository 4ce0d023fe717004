package kubelet

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	v1 "github.com/google/cadvisor/info/v1"
)

// uncounted are interfaces that carry no traffic of the node's or a pod's own: loopback, and the node's ends of pods'
// links with the bridge that joins them, whose traffic is the pods'.
var uncounted = []string{"lo", "veth", "kins"}

func processDirectory(pid int) string { return filepath.Join("/proc", strconv.Itoa(pid)) }

// residentSet is the memory of processes that is not on disk, from proc_pid_statm(5); pages that they share count for
// each. What has ended counts for nothing.
func residentSet(pids []int) uint64 {
	var pages uint64
	for _, pid := range pids {
		content, err := os.ReadFile(filepath.Join(processDirectory(pid), "statm"))
		if err != nil {
			continue
		}
		if fields := bytes.Fields(content); len(fields) > 1 {
			resident, _ := strconv.ParseUint(string(fields[1]), 10, 64)
			pages += resident
		}
	}
	return pages * uint64(os.Getpagesize())
}

// processDetails counts what processes have: descriptors, sockets among them, threads.
func processDetails(pids []int) v1.ProcessStats {
	found := v1.ProcessStats{ProcessCount: uint64(len(pids))}
	for _, pid := range pids {
		descriptors := filepath.Join(processDirectory(pid), "fd")
		entries, err := os.ReadDir(descriptors)
		if err != nil {
			continue // it ended meanwhile
		}
		for _, entry := range entries {
			found.FdCount++
			if target, _ := os.Readlink(filepath.Join(descriptors, entry.Name())); strings.HasPrefix(target, "socket:") {
				found.SocketCount++
			}
		}
		threads, _ := os.ReadDir(filepath.Join(processDirectory(pid), "task"))
		found.ThreadsCurrent += uint64(len(threads))
	}
	return found
}

// networkOf is the traffic in the network namespace of processes; nil when that is our own, as with pods on the node's
// network, or when there is none to ask.
func networkOf(pids []int) []v1.InterfaceStats {
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return nil
	}
	for _, pid := range pids {
		theirs, err := os.Readlink(filepath.Join(processDirectory(pid), "ns/net"))
		if err != nil || theirs == own {
			continue
		}
		content, err := os.ReadFile(filepath.Join(processDirectory(pid), "net/dev"))
		if err == nil {
			return interfaces(content)
		}
	}
	return nil
}

// interfaces reads proc_pid_net(5)'s dev: eight numbers received, then eight transmitted. nil when none counts.
func interfaces(content []byte) []v1.InterfaceStats {
	var found []v1.InterfaceStats
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		name, numbers, is := strings.Cut(lines.Text(), ":")
		values := strings.Fields(numbers)
		if name = strings.TrimSpace(name); !is || len(values) < 12 || isUncounted(name) {
			continue
		}
		at := func(column int) uint64 {
			value, _ := strconv.ParseUint(values[column], 10, 64)
			return value
		}
		found = append(found, v1.InterfaceStats{
			Name: name, RxBytes: at(0), RxPackets: at(1), RxErrors: at(2), RxDropped: at(3),
			TxBytes: at(8), TxPackets: at(9), TxErrors: at(10), TxDropped: at(11),
		})
	}
	return found
}

func isUncounted(name string) bool {
	for _, prefix := range uncounted {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
