package cni

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/vishvananda/netlink"
)

func TestCheckFindsWhatIsNotAsAdded(t *testing.T) {
	onLink := func(name string, change func(netlink.Link) error) func() error {
		return func() error {
			found, err := link(name)
			if err != nil {
				return err
			}
			return change(found)
		}
	}
	cases := map[string]func(*machine, *pod){
		"the pod's link is gone": func(m *machine, pod *pod) { m.inside(pod, func() error { return removeLink("eth0") }) },
		"the pod's link is down": func(m *machine, pod *pod) { m.inside(pod, onLink("eth0", netlink.LinkSetDown)) },
		"the pod has another hardware address": func(m *machine, pod *pod) {
			m.inside(pod, onLink("eth0", func(found netlink.Link) error {
				return netlink.LinkSetHardwareAddr(found, []byte{2, 0, 0, 0, 0, 1})
			}))
		},
		"the pod has another address": func(m *machine, pod *pod) {
			m.inside(pod, onLink("eth0", func(found netlink.Link) error {
				return errors.Join(
					netlink.AddrDel(found, &netlink.Addr{IPNet: parseNetwork(m, "10.42.0.2/16")}),
					addAddress("eth0", "10.42.9.9/16"),
					netlink.RouteReplace(&netlink.Route{LinkIndex: found.Attrs().Index, Gw: parseNetwork(m, "10.42.0.1/32").IP}),
				)
			}))
		},
		"the pod has no default route": func(m *machine, pod *pod) {
			m.inside(pod, onLink("eth0", func(found netlink.Link) error {
				return netlink.RouteDel(&netlink.Route{LinkIndex: found.Attrs().Index, Gw: parseNetwork(m, "10.42.0.1/32").IP})
			}))
		},
		"the pod's default route leads elsewhere": func(m *machine, pod *pod) {
			m.inside(pod, onLink("eth0", func(found netlink.Link) error {
				return netlink.RouteReplace(&netlink.Route{LinkIndex: found.Attrs().Index, Gw: parseNetwork(m, "10.42.0.9/32").IP})
			}))
		},
		"the node's end is no port": func(m *machine, pod *pod) {
			m.inside(m.node, onLink(pod.hostLink(), netlink.LinkSetNoMaster))
		},
		"the node's end is down": func(m *machine, pod *pod) {
			m.inside(m.node, onLink(pod.hostLink(), netlink.LinkSetDown))
		},
		"the bridge is gone": func(m *machine, _ *pod) { m.inside(m.node, func() error { return removeLink("kins0") }) },
		"the bridge is down": func(m *machine, _ *pod) { m.inside(m.node, onLink("kins0", netlink.LinkSetDown)) },
		"the bridge has no address": func(m *machine, _ *pod) {
			m.inside(m.node, onLink("kins0", func(found netlink.Link) error {
				return netlink.AddrDel(found, &netlink.Addr{IPNet: parseNetwork(m, "10.42.0.1/16")})
			}))
		},
		"the address is not kept":      func(m *machine, _ *pod) { m.removeAll(filepath.Join(m.data, "kins", "10.42.0.2")) },
		"the address is another pod's": func(m *machine, _ *pod) { m.write("10.42.0.2", "other\r\neth0") },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			pod := m.pod("first")
			result := map[string]any{}
			if err := json.Unmarshal(m.must("ADD", pod), &result); err != nil {
				t.Fatal(err)
			}
			m.configuration["prevResult"] = result
			m.must("CHECK", pod)
			change(m, pod)
			failure := m.refused("CHECK", pod)
			t.Log(failure)
			if failure.Code != types.ErrInternal || failure.Msg != "not as ADD left it" {
				t.Errorf("code %d: %v", failure.Code, failure)
			}
		})
	}
}

func TestCheckNeedsTheResultAndTheNamespace(t *testing.T) {
	m := newMachine(t)
	pod := m.pod("first")
	result := map[string]any{}
	if err := json.Unmarshal(m.must("ADD", pod), &result); err != nil {
		t.Fatal(err)
	}
	if failure := m.refused("CHECK", pod); failure.Code != types.ErrInvalidNetworkConfig {
		t.Errorf("without a result: %d %v", failure.Code, failure)
	}
	m.configuration["prevResult"] = map[string]any{"cniVersion": "1.0.0"}
	if failure := m.refused("CHECK", pod); failure.Code != types.ErrInvalidNetworkConfig {
		t.Errorf("without an address in the result: %d %v", failure.Code, failure)
	}
	m.configuration["prevResult"] = result
	pod.path = "/proc/self/fd/not-there"
	if failure := m.refused("CHECK", pod); failure.Code != types.ErrInvalidNetNS {
		t.Errorf("without a namespace: %d %v", failure.Code, failure)
	}
}
