package cni

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
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
func (a *addresses) reserve(wanting attachment) (reserved *types100.IPConfig, err error) {
	err = a.locked(func() error {
		taken, err := a.of(wanting)
		if err != nil {
			return err
		}
		if len(taken) > 0 {
			return fmt.Errorf("%s has the address %s already: it was added before and not deleted", wanting, taken[0])
		}
		free := allocator.NewIPAllocator(&a.ranges, heldStore{a.Store}, 0)
		if reserved, err = free.Get(wanting.ContainerID, wanting.IfName, nil); err != nil {
			// The store leaves the address taken when it cannot note it as the last one (a full disk).
			return errors.Join(fmt.Errorf("no address for %s: %w", wanting, err), a.free(only(wanting)))
		}
		return nil
	})
	return reserved, err
}

// release frees the addresses of an attachment, if it has any.
func (a *addresses) release(leaving attachment) error {
	return a.locked(func() error { return a.free(only(leaving)) })
}

// only is the condition of being that attachment.
func only(wanted attachment) func(attachment) bool {
	return func(one attachment) bool { return one == wanted }
}

// free, under the lock, frees the addresses whose holders meet a condition, and those of nobody. (The store's own
// release says nothing of files that it could not remove.)
func (a *addresses) free(isUnwanted func(attachment) bool) error {
	holders, err := a.holders()
	for address, holder := range holders {
		if holder != nobody && !isUnwanted(holder) {
			continue
		}
		if failure := os.Remove(filepath.Join(a.directory, address)); failure != nil {
			err = errors.Join(err, fmt.Errorf("cannot free the address %s of %s: %w", address, holder, failure))
		}
	}
	return err
}

// of lists, under the lock, the addresses of an attachment.
func (a *addresses) of(wanted attachment) ([]string, error) {
	holders, err := a.holders()
	var found []string
	for address, holder := range holders {
		if holder == wanted {
			found = append(found, address)
		}
	}
	return found, err
}

// nobody holds an address whose file was made by a process that was killed before it wrote into it.
var nobody = attachment{}

// holders, under the lock, are the attachments that have an address.
func (a *addresses) holders() (map[string]attachment, error) {
	return holdersIn(a.directory)
}

// holdersIn reads a network's files.
func holdersIn(directory string) (map[string]attachment, error) {
	files, err := os.ReadDir(directory)
	if err != nil {
		return nil, err
	}
	found := map[string]attachment{}
	for _, file := range files {
		// The lock and the last address given are there as well.
		if net.ParseIP(file.Name()) == nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join(directory, file.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // freed meanwhile, by another process
		}
		if err != nil {
			return nil, err
		}
		container, link, _ := strings.Cut(strings.TrimSpace(string(text)), disk.LineBreak)
		found[file.Name()] = attachment{ContainerID: container, IfName: link}
	}
	return found, nil
}

// AddressOf finds the address of a pod by its sandbox, in a network's directory below dataDir. None is no error: pods in
// the node's network have none.
func AddressOf(directory, sandbox string) (netip.Addr, error) {
	holders, err := holdersIn(directory)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return netip.Addr{}, err
	}
	for address, holder := range holders {
		if holder.ContainerID == sandbox {
			return netip.ParseAddr(address)
		}
	}
	return netip.Addr{}, nil
}
