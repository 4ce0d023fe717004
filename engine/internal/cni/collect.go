package cni

import (
	"errors"
	"fmt"
	"os"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/plugins/pkg/netlinksafe"
)

// collect (GC) frees what belongs to no valid attachment. The runtime does not run ADD or DEL meanwhile.
func collect(arguments *skel.CmdArgs) error {
	configuration, err := readConfiguration(arguments.StdinData)
	if err != nil {
		return err
	}
	valid, err := configuration.validAttachments()
	if err != nil {
		return err
	}
	if configuration.Shared {
		return collectAddresses(configuration, valid)
	}
	// Links first, as in DEL. What fails does not keep the rest from being freed.
	return errors.Join(
		collectEgress(configuration, valid), collectLinks(configuration, valid), collectAddresses(configuration, valid),
	)
}

func collectEgress(configuration *configuration, valid map[attachment]bool) error {
	names, err := configuration.Egress.names()
	keep := hostLinks(valid)
	for _, name := range names {
		if !keep[name] {
			err = errors.Join(err, configuration.Egress.leave(name))
		}
	}
	return err
}

// hostLinks are the names of the attachments' ends on the node.
func hostLinks(attachments map[attachment]bool) map[string]bool {
	names := map[string]bool{}
	for attachment := range attachments {
		names[attachment.hostLink()] = true
	}
	return names
}

// collectLinks removes ports of the bridge that are ours. Others may use the bridge as well.
func collectLinks(configuration *configuration, valid map[attachment]bool) error {
	bridge, err := link(configuration.Bridge)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	links, err := netlinksafe.LinkList()
	if err != nil {
		return fmt.Errorf("cannot list the links: %w", err)
	}
	keep := hostLinks(valid)
	for _, link := range links {
		name := link.Attrs().Name
		if link.Attrs().MasterIndex == bridge.Attrs().Index && isHostLink(name) && !keep[name] {
			err = errors.Join(err, removeLink(name))
		}
	}
	return err
}

func collectAddresses(configuration *configuration, valid map[attachment]bool) error {
	if !hasAddresses(configuration) {
		return nil
	}
	addresses, err := openAddresses(configuration)
	if err != nil {
		return err
	}
	defer addresses.Close()
	return addresses.locked(func() error {
		holders, err := addresses.holders()
		for _, holder := range holders {
			// It is no port of the bridge where an ADD was killed.
			if !valid[holder] && !configuration.Shared {
				err = errors.Join(err, removeLink(holder.hostLink()))
			}
		}
		if err != nil {
			return err
		}
		return addresses.free(func(holder attachment) bool { return !valid[holder] })
	})
}

// codeNotAvailable is the specification's code for a plugin that cannot serve ADD requests now.
const codeNotAvailable = 50

// status (STATUS) tells whether an ADD could keep its address.
func status(arguments *skel.CmdArgs) error {
	configuration, err := readConfiguration(arguments.StdinData)
	if err != nil {
		return err
	}
	if err := tryToWrite(configuration.DataDir); err != nil {
		return types.NewError(codeNotAvailable, "dataDir is not writable", err.Error())
	}
	return nil
}

func tryToWrite(directory string) error {
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(directory, ".status-")
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}
