package cni

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"syscall"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"
)

// link is a link of the current namespace. A missing one is an error that isMissing knows.
func link(name string) (netlink.Link, error) {
	found, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("link %s: %w", name, err)
	}
	return found, nil
}

func isMissing(err error) bool {
	missing := netlink.LinkNotFoundError{}
	return errors.As(err, &missing) || errors.Is(err, syscall.ENODEV)
}

func refuseLink(name string) error {
	_, err := link(name)
	if isMissing(err) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("the pod has a link %s already", name)
	}
	return err
}

// removeLink removes a link, and with an end of a veth pair the other end. A link that is gone is no error.
func removeLink(name string) error {
	found, err := link(name)
	if err == nil {
		err = netlink.LinkDel(found)
	}
	if err != nil && !isMissing(err) {
		return fmt.Errorf("cannot remove the link %s: %w", name, err)
	}
	return nil
}

// ensureBridge finds the bridge, or makes it; completeBridge does the rest.
func ensureBridge(name string) (netlink.Link, error) {
	bridge, err := link(name)
	if isMissing(err) {
		// Another process may be faster.
		err = netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attributes(name)})
		if err != nil && !errors.Is(err, syscall.EEXIST) {
			return nil, fmt.Errorf("cannot make the bridge %s: %w", name, err)
		}
		bridge, err = link(name)
	}
	if err != nil {
		return nil, err
	}
	// A "device" is a link that the kernel tells no kind of: gVisor of 2025 tells it of none.
	if kind := bridge.Type(); kind != "bridge" && kind != "device" {
		return nil, invalid("bridge", name, "a link of that name is there, and is a "+kind)
	}
	return bridge, nil
}

// completeBridge gives the bridge what it lacks: a hardware address for good, its address, being up. It comes after the
// first port was joined, which works with a bridge only, so that no other link is ever changed.
func completeBridge(bridge netlink.Link, configuration *configuration) (*types100.Interface, error) {
	if err := pinHardwareAddress(bridge, configuration.gateway().IP); err != nil {
		return nil, fmt.Errorf("cannot set the hardware address of the bridge %s: %w", configuration.Bridge, err)
	}
	err := netlink.AddrAdd(bridge, &netlink.Addr{IPNet: configuration.gateway()})
	if err != nil && !errors.Is(err, syscall.EEXIST) {
		return nil, fmt.Errorf("cannot give the bridge %s the address %s: %w", configuration.Bridge, configuration.Gateway, err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return nil, fmt.Errorf("cannot set the bridge %s up: %w", configuration.Bridge, err)
	}
	return describe(configuration.Bridge)
}

// pinHardwareAddress gives the bridge one that follows from its IPv4 address. Linux otherwise gives it the lowest one of
// its ports, so that it changes as pods come and go; pods that know the former one then lose the node for a while.
func pinHardwareAddress(bridge netlink.Link, address net.IP) error {
	// The first two bytes say: administered locally, for one receiver.
	hardware := append(net.HardwareAddr{0x0a, 0x58}, address.To4()...)
	if bytes.Equal(bridge.Attrs().HardwareAddr, hardware) {
		return nil
	}
	return netlink.LinkSetHardwareAddr(bridge, hardware)
}

// attributes names a new link and leaves all else to the kernel.
func attributes(name string) netlink.LinkAttrs {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = name
	return attributes
}

// createPair makes both ends on the node. (The peer can be made in another namespace at once, but not on every gVisor.)
func createPair(attachment attachment) error {
	pair := netlink.NewVeth(attributes(attachment.hostLink()))
	pair.PeerName = attachment.podLink()
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("cannot make the links of %s: %w", attachment, err)
	}
	return nil
}

// moveIntoPod puts the pod's end into its namespace, under the wanted name, with address and default route.
func moveIntoPod(attachment attachment, address *types100.IPConfig, pod ns.NetNS) (*types100.Interface, error) {
	end, err := link(attachment.podLink())
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetNsFd(end, int(pod.Fd())); err != nil {
		return nil, fmt.Errorf("cannot move a link into the pod: %w", err)
	}
	var moved *types100.Interface
	err = pod.Do(func(ns.NetNS) error {
		if err := configure(attachment, address); err != nil {
			return fmt.Errorf("cannot set up %s in the pod: %w", attachment.IfName, err)
		}
		moved, err = describe(attachment.IfName)
		return err
	})
	if err != nil {
		return nil, err
	}
	moved.Sandbox = pod.Path()
	return moved, nil
}

// configure runs in the pod.
func configure(attachment attachment, address *types100.IPConfig) error {
	// Its index may be another one since it was moved.
	end, err := link(attachment.podLink())
	if err != nil {
		return err
	}
	if err := netlink.LinkSetName(end, attachment.IfName); err != nil {
		return fmt.Errorf("rename: %w", err)
	}
	if err := netlink.AddrAdd(end, &netlink.Addr{IPNet: &address.Address}); err != nil {
		return fmt.Errorf("address %s: %w", &address.Address, err)
	}
	loopback, err := link("lo")
	if err != nil {
		return err
	}
	for _, link := range []netlink.Link{loopback, end} {
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
	}
	// Without the link's index gVisor makes a route that leads nowhere.
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: end.Attrs().Index, Gw: address.Gateway}); err != nil {
		return fmt.Errorf("default route by %s: %w", address.Gateway, err)
	}
	return nil
}

// joinBridge makes the node's end a port of the bridge.
func joinBridge(attachment attachment, bridge netlink.Link) (*types100.Interface, error) {
	name := attachment.hostLink()
	end, err := link(name)
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetMaster(end, bridge); err != nil {
		return nil, fmt.Errorf("cannot make %s a port of the bridge %s: %w", name, bridge.Attrs().Name, err)
	}
	if err := netlink.LinkSetUp(end); err != nil {
		return nil, fmt.Errorf("cannot set the link %s up: %w", name, err)
	}
	return describe(name)
}

// describe is a link as a result names it.
func describe(name string) (*types100.Interface, error) {
	found, err := link(name)
	if err != nil {
		return nil, err
	}
	return &types100.Interface{Name: name, Mac: found.Attrs().HardwareAddr.String()}, nil
}
