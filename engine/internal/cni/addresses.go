package cni

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/allocator"
	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/disk"
)

// addresses is the store of the host-local plugin: a file for each taken address, named by it, holding the attachment.
// It is what survives the runtime, the node and the plugin.
type addresses struct {
	*disk.Store
	directory string
	ranges    allocator.RangeSet
}

// heldStore is the store for callees that lock it themselves, while we hold its lock.
type heldStore struct{ *disk.Store }

func (heldStore) Lock() error   { return nil }
func (heldStore) Unlock() error { return nil }

// addressDirectory is where package disk puts a network's files.
func addressDirectory(configuration *configuration) string {
	return filepath.Join(configuration.DataDir, configuration.Name)
}

// hasAddresses tells whether any address was ever taken. Opening the store would make its directory, again after the
// cluster was removed.
func hasAddresses(configuration *configuration) bool {
	_, err := os.Stat(addressDirectory(configuration))
	return !errors.Is(err, fs.ErrNotExist)
}

func openAddresses(configuration *configuration) (*addresses, error) {
	store, err := disk.New(configuration.Name, configuration.DataDir)
	if err != nil {
		return nil, types.NewError(types.ErrIOFailure, "cannot open the addresses in dataDir", err.Error())
	}
	return &addresses{store, addressDirectory(configuration), configuration.ranges}, nil
}

// locked runs an action that no other process may disturb.
func (a *addresses) locked(action func() error) error {
	if err := a.Lock(); err != nil {
		return types.NewError(types.ErrIOFailure, "cannot lock the addresses in "+a.directory, err.Error())
	}
	defer a.Unlock()
	return action()
}

// reserve takes the next free address for an attachment that has none, and never the gateway's.
func (a *addresses) reserve(attachment attachment) (reserved *types100.IPConfig, err error) {
	err = a.locked(func() error {
		if taken := a.of(attachment); len(taken) > 0 {
			return fmt.Errorf("%s has the address %s already: it was added before and not deleted", attachment, taken[0])
		}
		reserved, err = allocator.NewIPAllocator(&a.ranges, heldStore{a.Store}, 0).Get(attachment.ContainerID, attachment.IfName, nil)
		if err != nil {
			// The store leaves the address taken when it cannot note it as the last one (a full disk).
			return errors.Join(fmt.Errorf("no address for %s: %w", attachment, err), a.free(attachment))
		}
		return nil
	})
	return reserved, err
}

// release frees the addresses of an attachment, if it has any.
func (a *addresses) release(attachment attachment) error {
	return a.locked(func() error { return a.free(attachment) })
}

// free is release under the lock. The store says nothing of files that it could not remove.
func (a *addresses) free(attachment attachment) error {
	if err := a.ReleaseByID(attachment.ContainerID, attachment.IfName); err != nil {
		return fmt.Errorf("cannot free the addresses of %s: %w", attachment, err)
	}
	if left := a.of(attachment); len(left) > 0 {
		return fmt.Errorf("cannot free the address %s of %s: its file in %s stays", left[0], attachment, a.directory)
	}
	return nil
}

func (a *addresses) of(attachment attachment) []net.IP {
	return a.GetByID(attachment.ContainerID, attachment.IfName)
}

// holders are the attachments that have an address. A file without one was left by a process that ended while it wrote
// it; its holder is the empty attachment.
func (a *addresses) holders() (map[string]attachment, error) {
	files, err := os.ReadDir(a.directory)
	if err != nil {
		return nil, err
	}
	found := map[string]attachment{}
	for _, file := range files {
		if net.ParseIP(file.Name()) == nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join(a.directory, file.Name()))
		if err != nil {
			return nil, err
		}
		container, link, _ := strings.Cut(strings.TrimSpace(string(text)), disk.LineBreak)
		found[file.Name()] = attachment{ContainerID: container, IfName: link}
	}
	return found, nil
}
