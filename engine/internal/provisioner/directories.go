package provisioner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// directoryMode lets containers of any user write, as volumes of other provisioners do; a pod's fsGroup narrows nothing.
const directoryMode = 0o777

// directories makes each volume a directory below one root.
type directories struct {
	root *os.Root // every change goes through it: no name leads out of it
	node string   // whose pods use the volumes; empty where there is no node
	// simulated is asked of other nodes: pods on one that is are content with any volume
	simulated func(ctx context.Context, node string) (bool, error)
}

var _ controller.Provisioner = (*directories)(nil)

// Provision makes the directory of a volume, which may be there from an attempt that was cut off.
func (place *directories) Provision(
	ctx context.Context, options controller.ProvisionOptions,
) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	node, err := place.nodeOf(ctx, options.SelectedNodeName)
	if err != nil {
		return nil, controller.ProvisioningReschedule, err
	}
	if err := refusal(options); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	if err := place.makeDirectory(options.PVName); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	return place.volume(options, node), controller.ProvisioningFinished, nil
}

// nodeOf is the node of a volume whose pod is placed on one: none, where that is simulated.
func (place *directories) nodeOf(ctx context.Context, selected string) (string, error) {
	if place.node == "" || selected == "" || selected == place.node {
		return place.node, nil
	}
	simulated, err := place.simulated(ctx, selected)
	if err == nil && !simulated {
		err = fmt.Errorf("volumes are on node %s, not on %s", place.node, selected)
	}
	return "", err
}

// Delete removes a volume's directory with all that is in it; one that is gone already is no error. A volume whose path
// is not the one that Provision gave it is somebody else's, and left alone.
func (place *directories) Delete(_ context.Context, volume *v1.PersistentVolume) error {
	if err := checkName(volume.Name); err != nil {
		return &controller.IgnoredError{Reason: err.Error()}
	}
	if path := pathOf(volume); path != place.path(volume.Name) {
		return &controller.IgnoredError{Reason: fmt.Sprintf("%q is not the directory of this volume", path)}
	}
	return place.root.RemoveAll(volume.Name)
}

// refusal says why a claim or its class asks for something that a directory cannot be.
func refusal(options controller.ProvisionOptions) error {
	claim := options.PVC.Spec
	switch {
	case claim.Selector != nil:
		return errors.New("a claim with a selector cannot be provisioned: its volume must be there already")
	case claim.DataSource != nil || claim.DataSourceRef != nil:
		return errors.New("a volume cannot be made from another one or from a snapshot")
	case len(options.StorageClass.Parameters) > 0:
		names := slices.Sorted(maps.Keys(options.StorageClass.Parameters))
		return fmt.Errorf("the storage class has parameters, and there are none to set: %s", strings.Join(names, ", "))
	}
	return nil
}

func (place *directories) makeDirectory(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := place.root.Mkdir(name, directoryMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return place.root.Chmod(name, directoryMode) // Mkdir's mode is cut by the umask
}

// checkName allows names that are one directory below the root.
func checkName(name string) error {
	if !filepath.IsLocal(name) || filepath.Base(name) != name || name == "." {
		return fmt.Errorf("%q cannot be the name of a directory", name)
	}
	return nil
}

func (place *directories) path(name string) string {
	return filepath.Join(place.root.Name(), name)
}

// volume describes the directory to the API server. On a node it is a volume of type `local`, whose group the kubelet
// sets as a pod's fsGroup asks; for no node a `hostPath`, because a local volume must name a node.
func (place *directories) volume(options controller.ProvisionOptions, node string) *v1.PersistentVolume {
	claim, class, path := options.PVC.Spec, options.StorageClass, place.path(options.PVName)
	volume := &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: options.PVName},
		Spec: v1.PersistentVolumeSpec{
			AccessModes:                   claim.AccessModes,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: claim.Resources.Requests[v1.ResourceStorage]},
			PersistentVolumeReclaimPolicy: *class.ReclaimPolicy,
			VolumeMode:                    claim.VolumeMode,
		},
	}
	if node == "" {
		kind := v1.HostPathDirectory
		volume.Spec.HostPath = &v1.HostPathVolumeSource{Path: path, Type: &kind}
		return volume
	}
	volume.Spec.Local = &v1.LocalVolumeSource{Path: path}
	volume.Spec.MountOptions = class.MountOptions
	volume.Spec.NodeAffinity = onlyOn(node)
	return volume
}

func onlyOn(node string) *v1.VolumeNodeAffinity {
	name := v1.NodeSelectorRequirement{
		Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{node},
	}
	terms := []v1.NodeSelectorTerm{{MatchExpressions: []v1.NodeSelectorRequirement{name}}}
	return &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: terms}}
}

// pathOf is where a volume of one of our two kinds is; empty for any other.
func pathOf(volume *v1.PersistentVolume) string {
	switch {
	case volume.Spec.Local != nil:
		return volume.Spec.Local.Path
	case volume.Spec.HostPath != nil:
		return volume.Spec.HostPath.Path
	}
	return ""
}
