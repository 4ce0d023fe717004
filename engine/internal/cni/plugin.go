// Package cni is a CNI plugin (specification 1.0.0 and 1.1.0) that puts each pod on a bridge by a pair of veths and
// gives it an IPv4 address out of one range. It asks the kernel for nothing but plain netlink requests (no promiscuous
// mode, packet filter, neighbour entry, rule or sysctl), because gVisor has no others; so neither masquerading nor port
// mapping lives here. The Services' addresses are the service proxy's concern, the way out of the cluster the egress
// relay's, to which each pod is told.
package cni

import (
	"errors"
	"fmt"
	"net"
	"os/signal"
	"syscall"

	namespaces "github.com/containernetworking/cni/pkg/ns"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/containernetworking/plugins/pkg/ns"
)

// Main runs the one command that the environment asks for and exits.
func Main() {
	// A runtime that died while it waited for ADD must not end us by SIGPIPE: the result cannot be written then, and
	// that undoes the ADD, which nobody else would.
	signal.Ignore(syscall.SIGPIPE)
	commands := skel.CNIFuncs{Add: add, Del: del, Check: check, GC: collect, Status: status}
	skel.PluginMainFuncs(commands, version.PluginSupports("1.0.0", "1.1.0"), "kins-cni: pods on a bridge")
}

// add either attaches the pod and prints the result, or leaves neither link nor address behind. The bridge is not the
// pod's and stays.
func add(arguments *skel.CmdArgs) (err error) {
	configuration, err := readConfiguration(arguments.StdinData)
	if err != nil {
		return err
	}
	if configuration.Shared {
		return addShared(configuration, arguments)
	}
	pod, err := openPod(arguments)
	if err != nil {
		return err
	}
	defer pod.Close()
	bridge, err := ensureBridge(configuration.Bridge)
	if err != nil {
		return err
	}
	addresses, err := openAddresses(configuration)
	if err != nil {
		return err
	}
	defer addresses.Close()

	attachment := attachmentOf(arguments)
	address, err := addresses.reserve(attachment)
	if err != nil {
		return err
	}
	defer undoOnError(&err, func() error { return addresses.release(attachment) })
	if err := createPair(attachment); err != nil {
		return err
	}
	defer undoOnError(&err, func() error { return removeLink(attachment.hostLink()) })

	hostLink, err := joinBridge(attachment, bridge)
	if err != nil {
		return err
	}
	bridgeLink, err := completeBridge(bridge, configuration)
	if err != nil {
		return err
	}
	podLink, err := moveIntoPod(attachment, address, pod)
	if err != nil {
		return err
	}
	defer undoOnError(&err, func() error { return configuration.Egress.leave(attachment.hostLink()) })
	if err := configuration.Egress.join(attachment, address, arguments.Netns); err != nil {
		return err
	}
	result := &types100.Result{
		CNIVersion: types100.ImplementedSpecVersion,
		Interfaces: []*types100.Interface{bridgeLink, hostLink, podLink},
		IPs:        []*types100.IPConfig{address},
		Routes:     []*types.Route{{Dst: everywhere(), GW: address.Gateway}},
	}
	// The pod's link is the third of the interfaces.
	address.Interface = types100.Int(2)
	return types.PrintResult(result, configuration.CNIVersion)
}

// undoOnError is for defer: it takes back one step of a command that fails, and adds what it could not take back.
func undoOnError(failure *error, undo func() error) {
	if *failure == nil {
		return
	}
	if err := undo(); err != nil {
		*failure = fmt.Errorf("%w; and taking it back failed: %w", *failure, err)
	}
}

// openPod opens the pod's network namespace, which must be another than ours and have no link of the wanted name yet.
// Neither is left to later calls: skel compares the namespaces only after ADD, and gVisor renames a link to a name that
// another one has.
func openPod(arguments *skel.CmdArgs) (ns.NetNS, error) {
	isOurs, failure := namespaces.CheckNetNS(arguments.Netns)
	if failure != nil {
		return nil, failure
	}
	if isOurs {
		return nil, types.NewError(types.ErrInvalidNetNS, "CNI_NETNS is the network namespace of the node", arguments.Netns)
	}
	pod, err := ns.GetNS(arguments.Netns)
	if err != nil {
		return nil, types.NewError(types.ErrInvalidNetNS, "cannot open the network namespace CNI_NETNS", err.Error())
	}
	err = pod.Do(func(ns.NetNS) error { return refuseLink(arguments.IfName) })
	if err != nil {
		return nil, errors.Join(err, pod.Close())
	}
	return pod, nil
}

// del needs no namespace: the end on the node takes the pod's end with it, wherever that is. What is gone already was
// either freed before or went with the namespace.
func del(arguments *skel.CmdArgs) error {
	configuration, err := readConfiguration(arguments.StdinData)
	if err != nil {
		return err
	}
	attachment := attachmentOf(arguments)
	// First: while the relay has a device in the pod's namespace, that stays.
	if err := configuration.Egress.leave(attachment.hostLink()); err != nil {
		return err
	}
	// The address comes last: nobody may get it while a link that has it is there.
	if !configuration.Shared {
		if err := removeLink(attachment.hostLink()); err != nil {
			return err
		}
	}
	if !hasAddresses(configuration) {
		return nil
	}
	addresses, err := openAddresses(configuration)
	if err != nil {
		return err
	}
	defer addresses.Close()
	return addresses.release(attachment)
}

// everywhere is the destination of a default route.
func everywhere() net.IPNet {
	return net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
}
