package cni

import (
	"testing"

	"github.com/vishvananda/netlink"
)

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
	m.inside(m.node, func() error {
		loopback, err := link("lo")
		if err != nil {
			return err
		}
		service, err := netlink.ParseAddr("10.43.0.1/16")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(loopback, service)
	})
	m.connects(second, m.node, "10.43.0.1")
}
