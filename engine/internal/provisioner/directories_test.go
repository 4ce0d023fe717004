package provisioner

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

func placeFor(t *testing.T, node string) *directories {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	simulated := func(_ context.Context, name string) (bool, error) { return name == "simulated", nil }
	return &directories{root: root, node: node, simulated: simulated}
}

func asked(name string) controller.ProvisionOptions {
	policy := v1.PersistentVolumeReclaimDelete
	return controller.ProvisionOptions{
		PVName:       name,
		StorageClass: &storage.StorageClass{ReclaimPolicy: &policy},
		PVC: &v1.PersistentVolumeClaim{Spec: v1.PersistentVolumeClaimSpec{
			AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce},
			Resources: v1.VolumeResourceRequirements{
				Requests: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")},
			},
		}},
	}
}

func provisioned(t *testing.T, place *directories, options controller.ProvisionOptions) *v1.PersistentVolume {
	t.Helper()
	volume, state, err := place.Provision(context.Background(), options)
	if err != nil || state != controller.ProvisioningFinished {
		t.Fatalf("%v: %v", state, err)
	}
	return volume
}

func TestAVolumeIsADirectoryForAnybody(t *testing.T) {
	place := placeFor(t, "here")
	volume := provisioned(t, place, asked("pvc-1"))
	state, err := os.Stat(filepath.Join(place.root.Name(), "pvc-1"))
	if err != nil || !state.IsDir() || state.Mode().Perm() != 0o777 {
		t.Fatalf("%v: %v", state, err)
	}
	if volume.Spec.Local == nil || volume.Spec.Local.Path != filepath.Join(place.root.Name(), "pvc-1") {
		t.Errorf("source: %v", volume.Spec.PersistentVolumeSource)
	}
	terms := volume.Spec.NodeAffinity.Required.NodeSelectorTerms
	if len(terms) != 1 || terms[0].MatchExpressions[0].Values[0] != "here" {
		t.Errorf("affinity: %v", terms)
	}
	if size := volume.Spec.Capacity[v1.ResourceStorage]; size.String() != "1Gi" {
		t.Errorf("capacity: %v", size)
	}
}

func TestWithoutANodeAVolumeBelongsToNone(t *testing.T) {
	volume := provisioned(t, placeFor(t, ""), asked("pvc-1"))
	if volume.Spec.HostPath == nil || volume.Spec.NodeAffinity != nil {
		t.Errorf("volume: %v", volume.Spec)
	}
}

func TestOnASimulatedNodeAVolumeBelongsToNone(t *testing.T) {
	options := asked("pvc-1")
	options.SelectedNodeName = "simulated"
	volume := provisioned(t, placeFor(t, "here"), options)
	if volume.Spec.HostPath == nil || volume.Spec.NodeAffinity != nil {
		t.Errorf("volume: %v", volume.Spec)
	}
}

func TestAnAttemptThatWasCutOffIsTakenUp(t *testing.T) {
	place := placeFor(t, "here")
	provisioned(t, place, asked("pvc-1"))
	provisioned(t, place, asked("pvc-1"))
}

func TestDeletionTakesTheDataAndMayBeRepeated(t *testing.T) {
	place := placeFor(t, "here")
	volume := provisioned(t, place, asked("pvc-1"))
	provisioned(t, place, asked("pvc-2"))
	if err := os.WriteFile(filepath.Join(volume.Spec.Local.Path, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := place.Delete(context.Background(), volume); err != nil {
			t.Fatal(err)
		}
	}
	left, err := os.ReadDir(place.root.Name())
	if err != nil || len(left) != 1 || left[0].Name() != "pvc-2" {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestALinkInAVolumeIsNotFollowed(t *testing.T) {
	place, outside := placeFor(t, "here"), t.TempDir()
	volume := provisioned(t, place, asked("pvc-1"))
	kept := filepath.Join(outside, "kept")
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(volume.Spec.Local.Path, "link")); err != nil {
		t.Fatal(err)
	}
	if err := place.Delete(context.Background(), volume); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}

func TestNamesThatLeadElsewhereAreRefused(t *testing.T) {
	place := placeFor(t, "here")
	for _, name := range []string{"", ".", "..", "../out", "/etc", "a/b", "a/../b"} {
		if _, _, err := place.Provision(context.Background(), asked(name)); err == nil {
			t.Errorf("%q was provisioned", name)
		}
		volume := &v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
		volume.Spec.Local = &v1.LocalVolumeSource{Path: place.path(name)}
		var ignored *controller.IgnoredError
		if err := place.Delete(context.Background(), volume); !errors.As(err, &ignored) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestAVolumeWithAnotherPathIsLeftAlone(t *testing.T) {
	place, foreign := placeFor(t, "here"), t.TempDir()
	provisioned(t, place, asked("pvc-1"))
	volume := &v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pvc-1"}}
	volume.Spec.HostPath = &v1.HostPathVolumeSource{Path: foreign}
	var ignored *controller.IgnoredError
	if err := place.Delete(context.Background(), volume); !errors.As(err, &ignored) {
		t.Fatal(err)
	}
	for _, path := range []string{foreign, place.path("pvc-1")} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestWhatADirectoryCannotBe(t *testing.T) {
	group := "snapshot.storage.k8s.io"
	cases := map[string]func(*controller.ProvisionOptions){
		"selector": func(options *controller.ProvisionOptions) { options.PVC.Spec.Selector = &metav1.LabelSelector{} },
		"snapshot": func(options *controller.ProvisionOptions) {
			options.PVC.Spec.DataSource = &v1.TypedLocalObjectReference{APIGroup: &group, Kind: "VolumeSnapshot", Name: "a"}
		},
		"parameters": func(options *controller.ProvisionOptions) {
			options.StorageClass.Parameters = map[string]string{"path": "/etc"}
		},
	}
	for word, change := range cases {
		place, options := placeFor(t, "here"), asked("pvc-1")
		change(&options)
		_, state, err := place.Provision(context.Background(), options)
		if err == nil || !strings.Contains(err.Error(), word) || state != controller.ProvisioningFinished {
			t.Errorf("%s: %v, %v", word, state, err)
		}
		if made, _ := os.ReadDir(place.root.Name()); len(made) > 0 {
			t.Errorf("%s: %v was made", word, made)
		}
	}
}

func TestAnotherNodeGoesBackToTheScheduler(t *testing.T) {
	options := asked("pvc-1")
	options.SelectedNodeName = "there"
	if _, state, err := placeFor(t, "here").Provision(context.Background(), options); err == nil ||
		state != controller.ProvisioningReschedule {
		t.Errorf("%v: %v", state, err)
	}
	provisioned(t, placeFor(t, "there"), options)
}
