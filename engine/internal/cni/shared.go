package cni

import (
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
)

// addShared gives the pod an address and nothing else: neither is its namespace looked at, which has no IP in such a
// sandbox (gVisor with the host's network), nor are there links to make. Who runs the pod's programs leads them to the
// address. Runtimes want an interface to each address all the same.
func addShared(configuration *configuration, arguments *skel.CmdArgs) (err error) {
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
	address.Interface = types100.Int(0)
	result := &types100.Result{
		CNIVersion: types100.ImplementedSpecVersion,
		Interfaces: []*types100.Interface{{Name: arguments.IfName, Sandbox: arguments.Netns}},
		IPs:        []*types100.IPConfig{address},
	}
	return types.PrintResult(result, configuration.CNIVersion)
}

// Loopback is the plugin `loopback` for such a sandbox, where setting up the link of a new network namespace would fail.
func Loopback() {
	nothing := func(*skel.CmdArgs) error { return nil }
	add := func(arguments *skel.CmdArgs) error {
		given, err := (&version.ConfigDecoder{}).Decode(arguments.StdinData)
		if err != nil {
			return err
		}
		return types.PrintResult(&types100.Result{CNIVersion: types100.ImplementedSpecVersion}, given)
	}
	commands := skel.CNIFuncs{Add: add, Del: nothing, Check: nothing}
	skel.PluginMainFuncs(commands, version.All, "kins-cni: no loopback of a pod's own")
}
