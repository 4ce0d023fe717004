package kubelet

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/cadvisor/fs"
	"github.com/google/cadvisor/fs/vfs"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sync/singleflight"
	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

// answerTime is how long a file system may take to tell its size: one whose server is gone may never do so.
const answerTime = 2 * time.Second

// sandboxKinds are file systems on which sandboxes and virtual machines start, and which cAdvisor (>= 0.56) has no plugin
// for: a kubelet whose directory lies on one then ends ("cannot find filesystem info for device"). It has one for tmpfs,
// which makes a device of each mount, also of the temporary ones by which containerd unpacks layers. Such a mount may be
// there while the kubelet starts, and is one of the devices of the image store for ever after: each time that it is the
// one that cAdvisor finds, the kubelet has no statistics, with the same error.
var sandboxKinds = []string{"9p", "gofer", "virtiofs", "fuse", "fuseblk", "tmpfs"}

func init() {
	if err := fs.RegisterPlugin("sandbox", newSandboxFileSystems()); err != nil {
		klog.Fatalf("register a file system plugin: %v", err)
	}
}

// sandboxFileSystems is a plugin of cAdvisor's (github.com/google/cadvisor/fs, plugin.go).
type sandboxFileSystems struct {
	questions singleflight.Group
	// places has the first mount of each file system. The mount table is read once, by one goroutine.
	places map[uint64]string
}

var _ fs.FsPlugin = (*sandboxFileSystems)(nil)

func newSandboxFileSystems() *sandboxFileSystems {
	return &sandboxFileSystems{places: map[uint64]string{}}
}

// Name is the plugin's in log messages.
func (*sandboxFileSystems) Name() string { return "sandbox" }

// CanHandle is asked with the type as the mount table has it.
func (*sandboxFileSystems) CanHandle(kind string) bool {
	return slices.Contains(sandboxKinds, kind) || strings.HasPrefix(kind, "fuse.")
}

// Priority is above that of cAdvisor's own plugin for tmpfs, which is 100.
func (*sandboxFileSystems) Priority() int { return 101 }

// ProcessMount makes one device of each file system, however often and with whatever source it is mounted: sources are
// often "none" there. Its place is that of the oldest mount from which it can be reached: later ones are binds, and some
// of them go. cAdvisor itself adds "/" under its source, so that other mounts of it would make it two devices.
func (plugin *sandboxFileSystems) ProcessMount(mount *mountinfo.Info) (bool, *mountinfo.Info, error) {
	if mount.Mountpoint == "/" {
		return true, mount, nil
	}
	device := unix.Mkdev(uint32(mount.Major), uint32(mount.Minor))
	if place, known := plugin.places[device]; liesOn("/", device) || known && liesOn(place, device) {
		return false, mount, nil
	}
	plugin.places[device] = mount.Mountpoint
	named := *mount
	named.Source = fmt.Sprintf("%s-%d:%d", mount.FSType, mount.Major, mount.Minor)
	return true, &named, nil
}

// GetStats is statfs(2), within a time. Who asks while a question is open shares its answer: a second call would hang as
// the first does.
func (plugin *sandboxFileSystems) GetStats(_ string, partition fs.PartitionInfo) (*fs.FsStats, error) {
	place := partition.Mountpoint
	answers := plugin.questions.DoChan(place, func() (any, error) { return size(place) })
	select {
	case answer := <-answers:
		found, _ := answer.Val.(*fs.FsStats)
		return found, answer.Err
	case <-time.After(answerTime):
		return nil, &os.PathError{Op: "statfs", Path: place, Err: syscall.ETIMEDOUT}
	}
}

// liesOn says whether a path leads to a file system: a mount above it may hide it.
func liesOn(path string, device uint64) bool {
	var found unix.Stat_t
	return unix.Stat(path, &found) == nil && found.Dev == device
}

func size(place string) (*fs.FsStats, error) {
	capacity, free, available, inodes, inodesFree, err := vfs.GetVfsStats(place)
	if err != nil {
		return nil, &os.PathError{Op: "statfs", Path: place, Err: err}
	}
	return &fs.FsStats{
		Capacity: capacity, Free: free, Available: available, Inodes: &inodes, InodesFree: &inodesFree, Type: fs.VFS,
	}, nil
}
