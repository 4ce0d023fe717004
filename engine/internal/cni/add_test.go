package cni

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/disk"
	"github.com/vishvananda/netlink"
)

// concurrent is the number of pods that are added at the same time.
const concurrent = 16

func TestPodsTheNodeAndServicesReachEachOther(t *testing.T) {
	m := newMachine(t)
	first, second := m.pod("first"), m.pod("second")
	one, two := address(m.add(first)), address(m.add(second))
	if one == two {
		t.Fatalf("both pods have %s", one)
	}
	m.connects(m.node, first, one)
	m.connects(m.node, second, two)
	m.connects(first, second, two)
	m.connects(second, first, one)
	m.connects(first, m.node, "10.42.0.1")
	m.connects(first, first, "127.0.0.1")

	// An address outside the pods' range shows the default route.
	m.inside(m.node, func() error { return addAddress("lo", "10.43.0.1/16") })
	m.connects(second, m.node, "10.43.0.1")
}

func addAddress(name, text string) error {
	found, err := link(name)
	if err != nil {
		return err
	}
	address, err := netlink.ParseAddr(text)
	if err != nil {
		return err
	}
	return netlink.AddrAdd(found, address)
}

func TestResultNamesWhatWasMade(t *testing.T) {
	for _, version := range []string{"1.0.0", "1.1.0"} {
		t.Run(version, func(t *testing.T) {
			m := newMachine(t)
			m.configuration["cniVersion"] = version
			pod := m.pod("first")
			result := m.add(pod)
			if result.CNIVersion != version {
				t.Errorf("version %q", result.CNIVersion)
			}
			wanted := []string{"kins0", pod.hostLink(), "eth0"}
			if len(result.Interfaces) != len(wanted) {
				t.Fatalf("interfaces: %v", result.Interfaces)
			}
			for index, name := range wanted {
				made, namespace, sandbox := result.Interfaces[index], m.node, ""
				if name == "eth0" {
					namespace, sandbox = pod, pod.path
				}
				if made.Name != name || made.Sandbox != sandbox || made.Mac != m.hardware(namespace, name) {
					t.Errorf("interface %d is %v", index, made)
				}
			}
			given := result.IPs[0]
			if given.Address.String() != "10.42.0.2/16" || given.Gateway.String() != "10.42.0.1" || *given.Interface != 2 {
				t.Errorf("address: %v", given)
			}
			if len(result.Routes) != 1 {
				t.Fatalf("routes: %v", result.Routes)
			}
			if route := result.Routes[0]; route.Dst.String() != "0.0.0.0/0" || !route.GW.Equal(given.Gateway) {
				t.Errorf("route: %v", route)
			}
		})
	}
}

func TestBridgeIsMadeOnceAndKept(t *testing.T) {
	m := newMachine(t)
	before := m.links(m.node)
	m.add(m.pod("first"))
	made := m.links(m.node)["kins0"]
	if _, isThere := before["kins0"]; isThere || made != "[10.42.0.1/16 kins0]" {
		t.Fatalf("bridge before: %v, after: %s", before, made)
	}
	m.add(m.pod("second"))
	if kept := m.links(m.node)["kins0"]; kept != made {
		t.Errorf("bridge: %s", kept)
	}
}

func TestBridgeOfTheNodeIsUsed(t *testing.T) {
	m := newMachine(t)
	m.inside(m.node, func() error {
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attributes("kins0")}); err != nil {
			return err
		}
		return addAddress("kins0", "10.42.0.1/16")
	})
	pod := m.pod("first")
	m.connects(m.node, pod, address(m.add(pod)))
	if bridge := m.links(m.node)["kins0"]; bridge != "[10.42.0.1/16 kins0]" {
		t.Errorf("bridge: %s", bridge)
	}
}

// On Linux a bridge has the lowest hardware address of its ports, unless it was given one.
func TestBridgeKeepsItsHardwareAddressAsPodsComeAndGo(t *testing.T) {
	m := newMachine(t)
	first := m.pod("first")
	m.add(first)
	before := m.hardware(m.node, "kins0")
	m.inside(m.node, func() error {
		port, err := link(first.hostLink())
		if err != nil {
			return err
		}
		return netlink.LinkSetHardwareAddr(port, net.HardwareAddr{0x02, 0, 0, 0, 0, 1})
	})
	m.add(m.pod("second"))
	if after := m.hardware(m.node, "kins0"); after != before {
		t.Errorf("with a new port it is %s, before it was %s", after, before)
	}
	m.must("DEL", first)
	if after := m.hardware(m.node, "kins0"); after != before {
		t.Errorf("with one port less it is %s, before it was %s", after, before)
	}
}

func TestOtherLinkIsNotTakenForTheBridge(t *testing.T) {
	m := newMachine(t)
	pod := m.pod("first")
	for _, name := range []string{"lo", "veth-of-node"} {
		m.inside(m.node, func() error {
			if name == "lo" {
				return nil
			}
			pair := netlink.NewVeth(attributes(name))
			pair.PeerName = "other-end"
			return netlink.LinkAdd(pair)
		})
		before := m.state(pod)
		hardware := m.hardware(m.node, name)
		m.configuration["bridge"] = name
		m.refused("ADD", pod)
		m.same("after an ADD to "+name, m.state(pod), before)
		if m.hardware(m.node, name) != hardware {
			t.Errorf("%s has another hardware address", name)
		}
	}
}

func TestAddressesOutliveProcessesAndAreNotGivenTwice(t *testing.T) {
	m := newMachine(t)
	m.configuration["subnet"] = "10.42.0.0/29"
	first := m.pod("first")
	taken := map[string]string{address(m.add(first)): "first"}
	// The links are gone, as after the end of the sandbox, and the files are still there.
	m.inside(m.node, func() error { return removeLink("kins0") })
	for _, name := range []string{"second", "third", "fourth", "fifth"} {
		given := address(m.add(m.pod(name)))
		if holder, isTaken := taken[given]; isTaken || given == "10.42.0.1" {
			t.Errorf("%s has the address %s of %s", name, given, holder)
		}
		taken[given] = name
	}
	if len(taken) != 5 {
		t.Errorf("addresses: %v", taken)
	}
}

func TestAddressIsGivenAgainAsLateAsPossible(t *testing.T) {
	m := newMachine(t)
	first := m.pod("first")
	freed := address(m.add(first))
	m.must("DEL", first)
	if given := address(m.add(m.pod("second"))); given == freed {
		t.Errorf("%s was given again at once", given)
	}
}

func TestTwoLinksOfOnePod(t *testing.T) {
	m := newMachine(t)
	pod := m.pod("first")
	one := address(m.add(pod))
	pod.IfName = "eth1"
	before := m.state(pod)
	// The second default route is refused.
	m.refused("ADD", pod)
	m.same("after the refused ADD", m.state(pod), before)
	m.connects(m.node, pod, one)
}

func TestConcurrentAddsAndDels(t *testing.T) {
	m := newMachine(t)
	before := m.links(m.node)
	pods := make([]*pod, concurrent)
	given := make([]string, concurrent)
	for index := range pods {
		pods[index] = m.pod(fmt.Sprint("pod", index))
	}
	together(func(index int) { given[index] = address(m.add(pods[index])) })
	seen := map[string]int{"10.42.0.1": -1}
	for index, pod := range pods {
		if other, isTaken := seen[given[index]]; isTaken {
			t.Errorf("pods %d and %d have %s", index, other, given[index])
		}
		seen[given[index]] = index
		m.connects(m.node, pod, given[index])
	}
	together(func(index int) { m.must("DEL", pods[index]) })
	after := m.links(m.node)
	delete(after, "kins0")
	if !maps.Equal(after, before) || len(m.taken()) > 0 {
		t.Errorf("links %v, addresses %v", after, m.taken())
	}
}

// Without the lock one process could take another's address, not written yet, for one that nobody has.
func TestCommandsWaitForTheLock(t *testing.T) {
	m := newMachine(t)
	first, second := m.pod("first"), m.pod("second")
	m.add(first)
	lock, err := disk.NewFileLock(filepath.Join(m.data, "kins"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, command := range []*exec.Cmd{m.command("ADD", second), m.command("DEL", first)} {
		before := m.taken()
		if err := lock.Lock(); err != nil {
			t.Fatal(err)
		}
		if err := m.start(command); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- command.Wait() }()
		m.waitsForLock(command.Process.Pid, ended)
		if during := m.taken(); !maps.Equal(during, before) {
			t.Errorf("addresses before: %v, under the lock: %v", before, during)
		}
		if err := lock.Unlock(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// waitsForLock returns when the kernel lists the process among those that wait: "1: -> FLOCK ADVISORY WRITE PID ..." in
// proc_locks(5).
func (m *machine) waitsForLock(pid int, ended chan error) {
	m.Helper()
	waiting := regexp.MustCompile(fmt.Sprintf(`(?m)^\d+: -> FLOCK .* %d `, pid))
	for started := time.Now(); time.Since(started) < waitLimit; {
		locks, err := os.ReadFile("/proc/locks")
		if err != nil {
			m.Fatal(err)
		}
		if waiting.Match(locks) {
			return
		}
		select {
		case err := <-ended:
			m.Fatalf("it did not wait for the lock; %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	m.Fatal("it neither ended nor waited for the lock")
}

// together runs an action once for each number, all at the same time.
func together(action func(int)) {
	var group sync.WaitGroup
	for index := range concurrent {
		group.Go(func() { action(index) })
	}
	group.Wait()
}
