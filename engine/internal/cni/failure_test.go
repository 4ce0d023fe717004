package cni

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/vishvananda/netlink"
)

func TestRefusedAddLeavesNothing(t *testing.T) {
	cases := map[string]struct {
		prepare func(*machine, *pod)
		code    uint
		says    string
	}{
		"the pod has a link of that name": {
			func(m *machine, pod *pod) {
				m.inside(pod, func() error { return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attributes("eth0")}) })
			},
			types.ErrInternal,
			"the pod has a link eth0 already",
		},
		// This fails at the last step in the pod.
		"the pod has a default route": {
			func(m *machine, pod *pod) { m.inside(pod, addOtherDefaultRoute) },
			types.ErrInternal,
			"cannot set up eth0 in the pod: default route by 10.42.0.1",
		},
		"no address is free": {
			func(m *machine, pod *pod) {
				m.configuration["subnet"] = "10.42.0.0/30"
				if given := address(m.add(m.pod("other"))); given != "10.42.0.2" {
					m.Errorf("the one pod has %s", given)
				}
			},
			types.ErrInternal,
			"no address for eth0 of first",
		},
		"the links on the node exist": {
			func(m *machine, pod *pod) {
				m.inside(m.node, func() error { return createPair(pod.attachment) })
			},
			types.ErrInternal,
			"cannot make the links of eth0 of first",
		},
		"it was added before": {
			func(m *machine, pod *pod) {
				m.add(pod)
				m.inside(pod, func() error { return renameLink("eth0", "eth1") })
			},
			types.ErrInternal,
			"eth0 of first has the address 10.42.0.2 already",
		},
		"the last address cannot be noted": {
			func(m *machine, pod *pod) {
				// The address itself can be kept.
				if err := os.MkdirAll(filepath.Join(m.data, "kins"), 0o755); err != nil {
					m.Fatal(err)
				}
				if err := os.Symlink("/not/there", filepath.Join(m.data, "kins", "last_reserved_ip.0")); err != nil {
					m.Fatal(err)
				}
			},
			types.ErrInternal,
			"no address for eth0 of first",
		},
		"the addresses cannot be kept": {
			func(m *machine, pod *pod) {
				if err := os.WriteFile(m.data, nil, 0o600); err != nil {
					m.Fatal(err)
				}
			},
			types.ErrIOFailure,
			"cannot open the addresses in dataDir",
		},
		"the namespace does not exist": {
			func(m *machine, pod *pod) { pod.path = "/proc/self/fd/not-there" },
			types.ErrInvalidNetNS,
			"cannot open the network namespace CNI_NETNS",
		},
		"the namespace is a file": {
			func(m *machine, pod *pod) { pod.path = "/etc/passwd" },
			types.ErrInvalidNetNS,
			"cannot open the network namespace CNI_NETNS",
		},
		"the namespace is the node's": {
			func(m *machine, pod *pod) { pod.path = "/proc/self/ns/net" },
			types.ErrInvalidNetNS,
			"CNI_NETNS is the network namespace of the node",
		},
	}
	for name, one := range cases {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			pod := m.pod("first")
			one.prepare(m, pod)
			before := m.state(pod)
			failure := m.refused("ADD", pod)
			if failure.Code != one.code || !strings.HasPrefix(failure.Msg, one.says) {
				t.Errorf("code %d: %v", failure.Code, failure)
			}
			after := m.state(pod)
			// The bridge may have been made, empty.
			if _, wasThere := before[0]["kins0"]; !wasThere {
				delete(after[0], "kins0")
			}
			m.same("after the ADD", after, before)
		})
	}
}

func addOtherDefaultRoute() error {
	other := &netlink.Bridge{LinkAttrs: attributes("other")}
	if err := netlink.LinkAdd(other); err != nil {
		return err
	}
	if err := addAddress("other", "192.168.9.1/24"); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(other); err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: other.Attrs().Index, Gw: net.IPv4(192, 168, 9, 2)})
}

func renameLink(from, to string) error {
	found, err := link(from)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetDown(found); err != nil {
		return err
	}
	return netlink.LinkSetName(found, to)
}

// A runtime that cannot read the result will not delete what it knows nothing of.
func TestAddWithoutAReaderLeavesNothing(t *testing.T) {
	cases := map[string]func() (*os.File, error){
		"the runtime is gone": func() (*os.File, error) {
			reader, writer, err := os.Pipe()
			if err != nil {
				return nil, err
			}
			return writer, reader.Close()
		},
		"the disk is full": func() (*os.File, error) { return os.OpenFile("/dev/full", os.O_WRONLY, 0) },
	}
	for name, open := range cases {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.add(m.pod("other"))
			pod := m.pod("first")
			before := m.state(pod)
			output, err := open()
			if err != nil {
				t.Fatal(err)
			}
			defer output.Close()
			var talk bytes.Buffer
			command := m.command("ADD", pod)
			command.Stdout, command.Stderr = output, &talk
			if err := m.start(command); err != nil {
				t.Fatal(err)
			}
			if err := command.Wait(); command.ProcessState.ExitCode() != 1 {
				t.Errorf("ended with %v: %s", err, talk.String())
			}
			m.same("after the ADD", m.state(pod), before)
		})
	}
}

// The runtime deletes what it killed. The moments are spread over the time that an ADD takes.
func TestDelAfterAKilledAdd(t *testing.T) {
	m := newMachine(t)
	m.add(m.pod("other"))
	started := time.Now()
	m.must("DEL", m.pod("measured"))
	m.add(m.pod("measured"))
	length := time.Since(started)
	const moments = 40
	killed := 0
	for moment := range moments {
		pod := m.pod("first")
		before := m.state(pod)
		command := m.command("ADD", pod)
		if err := m.start(command); err != nil {
			t.Fatal(err)
		}
		time.Sleep(length * time.Duration(moment) / moments)
		if err := command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		command.Wait()
		if status, isStatus := command.ProcessState.Sys().(syscall.WaitStatus); isStatus && status.Signaled() {
			killed++
		}
		m.must("DEL", pod)
		m.same("after DEL", m.state(pod), before)
		// The next ADD begins anew.
		pod.Close()
	}
	t.Logf("%d of %d were killed before they ended", killed, moments)
	if killed == 0 {
		t.Error("every ADD ended before it was killed")
	}
}
