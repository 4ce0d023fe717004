package cni

import (
	"errors"
	"maps"
	"os"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/vishvananda/netlink"
)

const validAttachments = "cni.dev/valid-attachments"

func newCollecting(t *testing.T) *machine {
	m := newMachine(t)
	m.configuration["cniVersion"] = "1.1.0"
	return m
}

func TestCollectKeepsTheValidAndFreesTheRest(t *testing.T) {
	m := newCollecting(t)
	kept, lost, halfMade := m.pod("kept"), m.pod("lost"), m.pod("half-made")
	address := address(m.add(kept))
	m.inside(m.node, func() error {
		// A port of the bridge that somebody else made, and a pod of another network.
		return errors.Join(addPort("veth-of-node", "kins0"), addPort("kins0123456789a", "other"))
	})
	before := m.state(kept)
	m.add(lost)
	// What ADD leaves when it is killed: an address with links that are no ports yet, and an address without a name.
	m.add(halfMade)
	m.inside(m.node, func() error {
		if err := removeLink(halfMade.hostLink()); err != nil {
			return err
		}
		return createPair(halfMade.attachment)
	})
	m.write("10.42.7.7", "")
	m.configuration[validAttachments] = []types.GCAttachment{types.GCAttachment(kept.attachment)}
	m.must("GC", nil)
	m.same("after GC", m.state(kept), before)
	m.connects(m.node, kept, address)
	m.must("GC", nil)
	m.same("after a second GC", m.state(kept), before)
}

// addPort makes a pair of links, one of them a port of a bridge, which is made too where it is missing.
func addPort(name, master string) error {
	bridge, err := ensureBridge(master)
	if err != nil {
		return err
	}
	pair := netlink.NewVeth(attributes(name))
	pair.PeerName = "of-" + master
	if err := netlink.LinkAdd(pair); err != nil {
		return err
	}
	return netlink.LinkSetMaster(pair, bridge)
}

// The store is gone, and the links with it are not.
func TestCollectFindsLinksWithoutAddresses(t *testing.T) {
	m := newCollecting(t)
	m.add(m.pod("lost"))
	m.removeAll(m.data)
	m.configuration[validAttachments] = []types.GCAttachment{}
	m.must("GC", nil)
	after := m.links(m.node)
	delete(after, "kins0")
	if !maps.Equal(after, map[string]string{"lo": "[]"}) {
		t.Errorf("links: %v", after)
	}
}

func TestCollectWithoutABridgeFreesAddresses(t *testing.T) {
	m := newCollecting(t)
	m.add(m.pod("lost"))
	m.inside(m.node, func() error { return removeLink("kins0") })
	m.configuration[validAttachments] = nil
	m.must("GC", nil)
	if taken := m.taken(); len(taken) > 0 {
		t.Errorf("addresses: %v", taken)
	}
}

func TestCollectWithoutAListIsRefused(t *testing.T) {
	m := newCollecting(t)
	pod := m.pod("first")
	m.add(pod)
	before := m.state(pod)
	if failure := m.refused("GC", nil); failure.Code != types.ErrInvalidNetworkConfig {
		t.Errorf("code %d: %v", failure.Code, failure)
	}
	m.configuration[validAttachments] = []string{"first"}
	if failure := m.refused("GC", nil); failure.Code != types.ErrDecodingFailure {
		t.Errorf("code %d: %v", failure.Code, failure)
	}
	m.same("after GC", m.state(pod), before)
}

func TestStatusTellsWhetherAddressesCanBeKept(t *testing.T) {
	m := newCollecting(t)
	m.must("STATUS", nil)
	m.must("STATUS", nil)
	if left, err := os.ReadDir(m.data); err != nil || len(left) > 0 {
		t.Errorf("in dataDir: %v, %v", left, err)
	}
	// Root is refused nothing but what the file system cannot do.
	m.removeAll(m.data)
	if err := os.WriteFile(m.data, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if failure := m.refused("STATUS", nil); failure.Code != codeNotAvailable {
		t.Errorf("code %d: %v", failure.Code, failure)
	}
}
