package cni

import (
	"fmt"
	"net"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/containernetworking/plugins/pkg/netlinksafe"
	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"
)

// check compares what ADD printed (prevResult) with what is there.
func check(arguments *skel.CmdArgs) error {
	configuration, err := readConfiguration(arguments.StdinData)
	if err != nil {
		return err
	}
	result, err := previousResult(configuration)
	if err != nil {
		return err
	}
	attachment := attachmentOf(arguments)
	if err := checkAddresses(configuration, attachment, result); err != nil {
		return err
	}
	if configuration.Shared {
		return nil
	}
	if err := checkHostLink(configuration, attachment); err != nil {
		return err
	}
	pod, err := ns.GetNS(arguments.Netns)
	if err != nil {
		return types.NewError(types.ErrInvalidNetNS, "cannot open the network namespace CNI_NETNS", err.Error())
	}
	defer pod.Close()
	return pod.Do(func(ns.NetNS) error { return checkPod(attachment.IfName, result) })
}

func previousResult(configuration *configuration) (*types100.Result, error) {
	if err := version.ParsePrevResult(&configuration.PluginConf); err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "cannot read prevResult", err.Error())
	}
	if configuration.PrevResult == nil {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, "prevResult is missing in the network configuration", "")
	}
	return types100.NewResultFromResult(configuration.PrevResult)
}

func checkAddresses(configuration *configuration, attachment attachment, result *types100.Result) error {
	if len(result.IPs) == 0 {
		return types.NewError(types.ErrInvalidNetworkConfig, "prevResult has no address", "")
	}
	addresses, err := openAddresses(configuration)
	if err != nil {
		return err
	}
	defer addresses.Close()
	return addresses.locked(func() error {
		taken, err := addresses.of(attachment)
		if err != nil {
			return err
		}
		if len(taken) != 1 || taken[0] != result.IPs[0].Address.IP.String() {
			return notAsAdded("%s has the addresses %s in %s", attachment, taken, addresses.directory)
		}
		return nil
	})
}

func checkHostLink(configuration *configuration, attachment attachment) error {
	bridge, err := link(configuration.Bridge)
	if err != nil {
		return notAsAdded("%s", err)
	}
	port, err := link(attachment.hostLink())
	if err != nil {
		return notAsAdded("%s", err)
	}
	if port.Attrs().MasterIndex != bridge.Attrs().Index {
		return notAsAdded("link %s is no port of the bridge %s", attachment.hostLink(), configuration.Bridge)
	}
	for _, link := range []netlink.Link{bridge, port} {
		if link.Attrs().Flags&net.FlagUp == 0 {
			return notAsAdded("link %s is down", link.Attrs().Name)
		}
	}
	return checkLinkAddress(bridge, configuration.gateway())
}

// checkPod runs in the pod.
func checkPod(name string, result *types100.Result) error {
	found, err := link(name)
	if err != nil {
		return notAsAdded("in the pod: %s", err)
	}
	if found.Attrs().Flags&net.FlagUp == 0 {
		return notAsAdded("link %s is down in the pod", name)
	}
	for _, added := range result.Interfaces {
		if added.Sandbox != "" && added.Name == name && added.Mac != found.Attrs().HardwareAddr.String() {
			return notAsAdded("link %s has the hardware address %s, not %s", name, found.Attrs().HardwareAddr, added.Mac)
		}
	}
	if err := checkLinkAddress(found, &result.IPs[0].Address); err != nil {
		return err
	}
	return checkDefaultRoute(found, result.IPs[0].Gateway)
}

func checkLinkAddress(link netlink.Link, wanted *net.IPNet) error {
	addresses, err := netlinksafe.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, address := range addresses {
		if address.IPNet.String() == wanted.String() {
			return nil
		}
	}
	return notAsAdded("link %s has not the address %s", link.Attrs().Name, wanted)
}

func checkDefaultRoute(link netlink.Link, gateway net.IP) error {
	routes, err := netlinksafe.RouteList(link, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, route := range routes {
		if isDefault(route.Dst) && route.Gw.Equal(gateway) {
			return nil
		}
	}
	return notAsAdded("link %s has no default route by %s", link.Attrs().Name, gateway)
}

// isDefault: netlink gives a default route's destination as nil or as 0.0.0.0/0, by its version.
func isDefault(destination *net.IPNet) bool {
	if destination == nil {
		return true
	}
	prefix, _ := destination.Mask.Size()
	return prefix == 0
}

// notAsAdded is the error of a CHECK that found a difference.
func notAsAdded(format string, values ...any) error {
	return types.NewError(types.ErrInternal, "not as ADD left it", fmt.Sprintf(format, values...))
}
