// Package sharedpods stands between containerd and its own programs where all pods have the network of the node, because
// network namespaces have no IP there. Each pod has an address that leads to one of loopback. The pod's shim, and with it
// every process of the pod, runs under kins-intercept, which has the programs use that address; and runc is told that
// there is no network namespace.
//
// containerd calls this program under the names of the two, which are links beside the configuration.
package sharedpods

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"kins/engine/internal/cni"
	"kins/engine/internal/intercept/rules"
)

// Names under which this program is called.
const (
	ShimName = "containerd-shim-runc-v2"
	RuncName = "runc"
)

// fileName is the configuration's, in the directory of the links.
const fileName = "shared-pods.json"

// configuration is what both need to know.
type configuration struct {
	// Shim, Runc and Interceptor are the true programs.
	Shim        string `json:"shim"`
	Runc        string `json:"runc"`
	Interceptor string `json:"interceptor"`
	// Addresses is the directory in which the CNI plugin keeps who has which address.
	Addresses string `json:"addresses"`
	// Node is the loopback address from which pods in the node's network come.
	Node netip.Addr `json:"node"`
	// Rules lead from the addresses of the cluster to those of loopback.
	Rules []rules.Rule `json:"rules"`
}

// Main becomes the program that is meant by the name, and returns only when it could not.
func Main(name string) int {
	if err := become(name); err != nil {
		fmt.Fprintf(os.Stderr, "%s for a shared network: %v\n", name, err)
		return 1
	}
	return 0
}

func become(name string) error {
	given, err := read(filepath.Join(filepath.Dir(os.Args[0]), fileName))
	if err != nil {
		return err
	}
	if name == RuncName {
		return given.becomeRunc(os.Args[1:])
	}
	return given.becomeShim(os.Args[1:])
}

func read(file string) (*configuration, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	given := &configuration{}
	if err := json.Unmarshal(content, given); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return given, nil
}

// becomeShim runs a new shim under the rules of its pod. What only asks or cleans up needs none.
func (c *configuration) becomeShim(arguments []string) error {
	if len(arguments) == 0 || arguments[len(arguments)-1] != "start" {
		return execute(c.Shim, ShimName, arguments)
	}
	own, err := c.addressOf(after(arguments, "-id"))
	if err != nil {
		return err
	}
	descriptor, err := c.rulesFor(own)
	if err != nil {
		return err
	}
	file := fmt.Sprintf("/proc/self/fd/%d", descriptor)
	return execute(c.Interceptor, "kins-intercept", slices.Concat([]string{"--rules", file, "--", c.Shim}, arguments))
}

// addressOf is the loopback address of a pod; not valid for a pod in the node's network.
func (c *configuration) addressOf(sandbox string) (netip.Addr, error) {
	found, err := cni.AddressOf(c.Addresses, sandbox)
	if err != nil || !found.IsValid() {
		return netip.Addr{}, err
	}
	set, err := rules.Compile(c.Rules)
	if err != nil {
		return netip.Addr{}, err
	}
	return set.Addresses.Lead(found), nil
}

// rulesFor writes the rules of a pod into a file that is in memory only, and inherited.
func (c *configuration) rulesFor(own netip.Addr) (int, error) {
	rule := rules.Rule{Source: &rules.Own{Address: c.Node}}
	if own.IsValid() {
		rule = rules.Rule{Own: &rules.Own{Address: own}}
	}
	content, err := json.Marshal(rules.File{Version: rules.Version, Rules: append(slices.Clone(c.Rules), rule)})
	if err != nil {
		return 0, err
	}
	descriptor, err := unix.MemfdCreate("kins-pod-rules", 0)
	if err != nil {
		return 0, fmt.Errorf("memfd_create: %w", err)
	}
	_, err = unix.Write(descriptor, content)
	return descriptor, err
}

// becomeRunc prepares the bundle of a container that is to be made.
func (c *configuration) becomeRunc(arguments []string) error {
	if slices.Contains(arguments, "create") {
		if err := c.prepare(filepath.Join(after(arguments, "--bundle"), "config.json")); err != nil {
			return err
		}
	}
	return execute(c.Runc, RuncName, arguments)
}

// after is the argument that follows another one; empty where there is none.
func after(arguments []string, name string) string {
	if place := slices.Index(arguments, name); place >= 0 && place+1 < len(arguments) {
		return arguments[place+1]
	}
	return ""
}

func execute(program, name string, arguments []string) error {
	err := unix.Exec(program, append([]string{name}, arguments...), os.Environ())
	return fmt.Errorf("%s: %w", program, err)
}
