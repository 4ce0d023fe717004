package kubelet

import (
	"fmt"
	"maps"
	"testing"

	"github.com/google/cadvisor/fs"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

func TestKindsOfSandboxesAreKnownToCadvisor(t *testing.T) {
	for kind, known := range map[string]bool{
		"9p": true, "virtiofs": true, "fuse": true, "fuse.gcsfuse": true, "proc": false, "cgroup": false,
	} {
		if plugin := fs.GetPluginForFsType(kind); (plugin != nil) != known {
			t.Errorf("%s: the plugin is %v", kind, plugin)
		}
	}
	if plugin := fs.GetPluginForFsType("tmpfs"); plugin == nil || plugin.Name() != "sandbox" {
		t.Errorf("tmpfs has the plugin %v: each of its mounts is a device", plugin)
	}
}

// A device for each file system at its oldest mount that can be reached: two of one source, one that is mounted twice,
// one whose first mount is hidden below another, and one that is "/" too.
func TestADeviceForEachFileSystem(t *testing.T) {
	plugin := newSandboxFileSystems()
	places := map[string]string{}
	for _, each := range []struct{ place, on string }{
		{"/", "/"}, {"/var/lib/kubelet", "/"}, {"/proc", "/proc"}, {"/proc/self", "/proc"}, {"/proc/1", "/dev"}, {"/dev", "/dev"},
	} {
		included, named, err := plugin.ProcessMount(mountOf(t, each.place, each.on))
		if err != nil {
			t.Fatal(err)
		}
		if included {
			places[named.Source] = named.Mountpoint
		}
	}
	want := map[string]string{"none": "/", deviceName(t, "/proc"): "/proc", deviceName(t, "/dev"): "/dev"}
	if !maps.Equal(places, want) {
		t.Errorf("got %v, want %v", places, want)
	}
}

// mountOf is a mount at a place, of the file system that another path lies on.
func mountOf(t *testing.T, place, on string) *mountinfo.Info {
	t.Helper()
	var found unix.Stat_t
	if err := unix.Stat(on, &found); err != nil {
		t.Fatal(err)
	}
	return &mountinfo.Info{
		Source: "none", FSType: "9p", Mountpoint: place,
		Major: int(unix.Major(found.Dev)), Minor: int(unix.Minor(found.Dev)),
	}
}

func deviceName(t *testing.T, on string) string {
	t.Helper()
	mount := mountOf(t, on, on)
	return fmt.Sprintf("9p-%d:%d", mount.Major, mount.Minor)
}

func TestSizeOfAFileSystem(t *testing.T) {
	place := t.TempDir()
	found, err := (&sandboxFileSystems{}).GetStats("", fs.PartitionInfo{Mountpoint: place})
	if err != nil || found.Capacity == 0 || found.Available > found.Capacity {
		t.Errorf("%+v, %v", found, err)
	}
	if _, err := (&sandboxFileSystems{}).GetStats("", fs.PartitionInfo{Mountpoint: "/absent"}); err == nil {
		t.Error("an absent place has a size")
	}
}
