package cni

import (
	"path/filepath"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

// newShared is a node whose pods have its own network.
func newShared(t *testing.T) *machine {
	m := newMachine(t)
	m.configuration["cniVersion"] = "1.1.0"
	m.configuration["shared"] = true
	delete(m.configuration, "bridge")
	return m
}

func TestSharedPodsHaveAddressesAndNoLinks(t *testing.T) {
	m := newShared(t)
	first, second := m.pod("first"), m.pod("second")
	before := m.state(first)
	result := m.add(first)
	one, two := address(result), address(m.add(second))
	if one == two || len(result.Interfaces) != 1 || result.Interfaces[0].Name != "eth0" || *result.IPs[0].Interface != 0 {
		t.Errorf("%s and %s; %v", one, two, result.Interfaces)
	}
	after := m.state(first)
	m.same("links", after[:2], before[:2])
	found, err := AddressOf(filepath.Join(m.data, "kins"), "second")
	if err != nil || found.String() != two {
		t.Errorf("the second one has %s: %v", found, err)
	}
	m.must("DEL", second)
	m.configuration[validAttachments] = []types.GCAttachment{}
	m.must("GC", nil)
	m.same("after GC", m.state(first), before)
}

func TestAPodWithoutAnAddressHasNone(t *testing.T) {
	found, err := AddressOf(filepath.Join(t.TempDir(), "nowhere"), "pod")
	if err != nil || found.IsValid() {
		t.Errorf("%s, %v", found, err)
	}
}
