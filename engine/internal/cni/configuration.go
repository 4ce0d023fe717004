package cni

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/utils"
	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/allocator"
)

// configuration is the plugin's part of a network list, after the checks.
type configuration struct {
	types.PluginConf

	// Bridge is the link that pods are joined to.
	Bridge string `json:"bridge"`
	// Shared is for pods that have the node's own network: they get an address, and no link.
	Shared bool `json:"shared"`
	// Subnet is the range of the addresses, e.g. 10.42.0.0/16.
	Subnet string `json:"subnet"`
	// Gateway is the bridge's own address, which no pod gets.
	Gateway string `json:"gateway"`
	// DataDir holds a directory for each network, with a file for each taken address and the lock.
	DataDir string `json:"dataDir"`
	// Egress is the directory that is shared with the relay of the pods' way out; without it they have none.
	Egress egress `json:"egress"`
	// RawValidAttachments hides the list of types.PluginConf, which does not tell an empty list from a missing one.
	RawValidAttachments json.RawMessage `json:"cni.dev/valid-attachments"`

	// ranges is Subnet and Gateway as the allocator takes them: one range.
	ranges allocator.RangeSet
}

func readConfiguration(text []byte) (*configuration, error) {
	read := &configuration{}
	if err := json.Unmarshal(text, read); err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "cannot read the network configuration", err.Error())
	}
	if read.Shared {
		if read.Bridge != "" || read.Egress != "" {
			return nil, invalid("bridge or egress", read.Bridge+string(read.Egress), "with shared there is none")
		}
	} else if problem := utils.ValidateInterfaceName(read.Bridge); problem != nil {
		return nil, invalid("bridge", read.Bridge, "a link's name is needed: "+problem.Error())
	}
	if !filepath.IsAbs(read.DataDir) {
		return nil, invalid("dataDir", read.DataDir, "an absolute path is needed")
	}
	if read.Egress != "" && !filepath.IsAbs(string(read.Egress)) {
		return nil, invalid("egress", string(read.Egress), "an absolute path is needed")
	}
	return read, read.parseAddresses()
}

func (c *configuration) parseAddresses() error {
	address, subnet, err := net.ParseCIDR(c.Subnet)
	if err != nil || subnet.IP.To4() == nil {
		return invalid("subnet", c.Subnet, "an IPv4 range is needed, like 10.42.0.0/16")
	}
	if !address.Equal(subnet.IP) {
		return invalid("subnet", c.Subnet, "the range of that address is "+subnet.String())
	}
	gateway := net.ParseIP(c.Gateway).To4()
	if gateway == nil {
		return invalid("gateway", c.Gateway, "an IPv4 address is needed, like 10.42.0.1")
	}
	c.ranges = allocator.RangeSet{{Subnet: types.IPNet(*subnet), Gateway: gateway}}
	if err := c.ranges.Canonicalize(); err != nil {
		return invalid("subnet", c.Subnet, err.Error())
	}
	if !c.ranges.Contains(gateway) {
		return invalid("gateway", c.Gateway, "a host's address in "+c.Subnet+" is needed")
	}
	return nil
}

// gateway is the bridge's address with the range's prefix length.
func (c *configuration) gateway() *net.IPNet {
	return &net.IPNet{IP: c.ranges[0].Gateway, Mask: c.ranges[0].Subnet.Mask}
}

// validAttachments is what a GC request must keep.
func (c *configuration) validAttachments() (map[attachment]bool, error) {
	if c.RawValidAttachments == nil {
		// An empty list frees every pod's, so a missing one must not.
		message := "cni.dev/valid-attachments is missing in the network configuration"
		return nil, types.NewError(types.ErrInvalidNetworkConfig, message, "")
	}
	var listed []attachment
	if err := json.Unmarshal(c.RawValidAttachments, &listed); err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "cannot read cni.dev/valid-attachments", err.Error())
	}
	valid := map[attachment]bool{}
	for _, one := range listed {
		valid[one] = true
	}
	return valid, nil
}

func invalid(key, value, problem string) error {
	message := fmt.Sprintf("invalid %s %q in the network configuration", key, value)
	return types.NewError(types.ErrInvalidNetworkConfig, message, problem)
}
