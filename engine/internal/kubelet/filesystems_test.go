package kubelet

import (
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
	if plugin := fs.GetPluginForFsType("tmpfs"); plugin != nil && plugin.Name() == "sandbox" {
		t.Error("we took a kind of cAdvisor's own")
	}
}

// One device for each file system: two of them with one source, one of them mounted twice, and one that is "/" too.
func TestADeviceForEachFileSystem(t *testing.T) {
	var root unix.Stat_t
	if err := unix.Stat("/", &root); err != nil {
		t.Fatal(err)
	}
	here := func(place string) *mountinfo.Info {
		return &mountinfo.Info{
			Source: "none", FSType: "9p", Mountpoint: place,
			Major: int(unix.Major(root.Dev)), Minor: int(unix.Minor(root.Dev)),
		}
	}
	plugin := &sandboxFileSystems{}
	sources := map[string]string{}
	for _, mount := range []*mountinfo.Info{
		here("/"), here("/var/lib/kubelet"),
		{Source: "none", FSType: "9p", Mountpoint: "/a", Major: 0, Minor: 4001},
		{Source: "none", FSType: "9p", Mountpoint: "/a/again", Major: 0, Minor: 4001},
		{Source: "none", FSType: "9p", Mountpoint: "/b", Major: 0, Minor: 4002},
	} {
		included, named, err := plugin.ProcessMount(mount)
		if err != nil {
			t.Fatal(err)
		}
		if included {
			sources[mount.Mountpoint] = named.Source
		}
	}
	want := map[string]string{"/": "none", "/a": "9p-0:4001", "/a/again": "9p-0:4001", "/b": "9p-0:4002"}
	if len(sources) != len(want) {
		t.Errorf("got %v, want %v", sources, want)
	}
	for place, source := range want {
		if sources[place] != source {
			t.Errorf("%s has source %q, want %q", place, sources[place], source)
		}
	}
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
