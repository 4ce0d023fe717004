package cni

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/containernetworking/cni/pkg/types"
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

// ensureBridge makes what is missing of the bridge: the link itself, its address, its being up. Two processes may do it
// at the same time.
func ensureBridge(configuration *configuration) (*types100.Interface, error) {
	bridge, err := bridgeLink(configuration.Bridge)
	if err != nil {
		return nil, err
	}
	hardware := hardwareAddress(configuration.ranges[0].Gateway)
	if err := pinHardwareAddress(bridge, hardware); err != nil {
		return nil, fmt.Errorf("cannot set the hardware address of the bridge %s: %w", configuration.Bridge, err)
	}
	err = netlink.AddrAdd(bridge, &netlink.Addr{IPNet: configuration.gateway()})
	if err != nil && !errors.Is(err, syscall.EEXIST) {
		return nil, fmt.Errorf("cannot give the bridge %s the address %s: %w", configuration.Bridge, configuration.Gateway, err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return nil, fmt.Errorf("cannot set the bridge %s up: %w", configuration.Bridge, err)
	}
	return describe(configuration.Bridge)
}

func bridgeLink(name string) (netlink.Link, error) {
	found, err := link(name)
	if isMissing(err) {
		err = netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attributes(name)})
		if err != nil && !errors.Is(err, syscall.EEXIST) {
			return nil, fmt.Errorf("cannot make the bridge %s: %w", name, err)
		}
		found, err = link(name)
	}
	if err != nil {
		return nil, err
	}
	if found.Type() != "bridge" {
		return nil, invalid("bridge", name, "a link of that name is there, and is a "+found.Type())
	}
	return found, nil
}

// pinHardwareAddress gives the bridge an address of its own for good. Linux otherwise gives it the lowest one of its
// ports, so that it changes as pods come and go; pods that know the former one then lose the node for up to a minute.
func pinHardwareAddress(bridge netlink.Link, hardware net.HardwareAddr) error {
	if bridge.Attrs().HardwareAddr.String() == hardware.String() {
		return nil
	}
	return netlink.LinkSetHardwareAddr(bridge, hardware)
}

// hardwareAddress is a locally administered address that follows from an IPv4 address.
func hardwareAddress(address net.IP) net.HardwareAddr {
	return append(net.HardwareAddr{0x0a, 0x58}, address.To4()...)
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
func joinBridge(attachment attachment, bridge *types100.Interface) (*types100.Interface, error) {
	end, err := link(attachment.hostLink())
	if err != nil {
		return nil, err
	}
	master, err := link(bridge.Name)
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetMaster(end, master); err != nil {
		return nil, fmt.Errorf("cannot make %s a port of the bridge %s: %w", attachment.hostLink(), bridge.Name, err)
	}
	if err := netlink.LinkSetUp(end); err != nil {
		return nil, fmt.Errorf("cannot set the link %s up: %w", attachment.hostLink(), err)
	}
	return describe(attachment.hostLink())
}

// describe is a link as a result names it.
func describe(name string) (*types100.Interface, error) {
	found, err := link(name)
	if err != nil {
		return nil, err
	}
	return &types100.Interface{Name: name, Mac: found.Attrs().HardwareAddr.String()}, nil
}

// errNotAsAdded is what CHECK finds.
func errNotAsAdded(format string, values ...any) error {
	return types.NewError(types.ErrInternal, "not as ADD left it", fmt.Sprintf(format, values...))
}
