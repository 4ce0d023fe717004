package images

import (
	"context"
	"errors"
	"fmt"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// visibleSeconds bounds the wait until the CRI plugin knows what is so in the store already.
const (
	visibleSeconds  = 10
	visibleInterval = 5 * time.Millisecond
)

// Image is what a pod can name. Size is that of the compressed content in bytes.
type Image struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// Store is containerd's image store and the snapshotter into which images are unpacked.
type Store struct {
	client      *containerd.Client
	snapshotter string
}

// NewStore uses a client whose default namespace is the CRI plugin's.
func NewStore(client *containerd.Client, snapshotter string) *Store {
	return &Store{client: client, snapshotter: snapshotter}
}

// Load imports and unpacks a docker archive or OCI layout: a tar file, gzip or not, or a layout's directory. It returns
// when the kubelet can use the images.
func (store *Store) Load(ctx context.Context, path string) ([]Image, error) {
	content, err := openArchive(path)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	// Layers that nothing refers to any more are collected at once, also before they are unpacked.
	ctx, release, err := store.client.WithLease(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = release(context.WithoutCancel(ctx)) }()
	imported, err := store.client.Import(
		ctx, content,
		containerd.WithImageRefTranslator(func(reference string) string { return imageName(reference, path) }),
	)
	if err != nil {
		return nil, err
	}
	if len(imported) == 0 {
		return nil, errors.New("no image with a name in it")
	}
	loaded, err := store.unpackAll(ctx, imported)
	if err != nil {
		store.discard(context.WithoutCancel(ctx), imported)
	}
	return loaded, err
}

// discard takes back images that cannot be used: a pod would find their names, and no room for their layers.
func (store *Store) discard(ctx context.Context, unusable []images.Image) {
	for _, each := range unusable {
		_ = store.client.ImageService().Delete(ctx, each.Name, images.SynchronousDelete())
	}
}

func (store *Store) unpackAll(ctx context.Context, imported []images.Image) ([]Image, error) {
	loaded := make([]Image, 0, len(imported))
	for _, each := range imported {
		image := containerd.NewImage(store.client, each)
		if err := image.Unpack(ctx, store.snapshotter); err != nil {
			return nil, fmt.Errorf("unpacking %s: %w", image.Name(), err)
		}
		if err := store.awaitVisible(ctx, image.Name()); err != nil {
			return nil, err
		}
		described, err := describe(ctx, image)
		if err != nil {
			return nil, err
		}
		loaded = append(loaded, described)
	}
	return loaded, nil
}

// awaitVisible waits for the CRI plugin: a pod that asked earlier would be told that its image is absent.
func (store *Store) awaitVisible(ctx context.Context, name string) error {
	return store.await(ctx, name, func(found *runtime.Image) bool { return found != nil })
}

// await waits until the CRI plugin, which learns of changes by events, knows of an image what it shall.
func (store *Store) await(ctx context.Context, name string, isSo func(*runtime.Image) bool) error {
	ctx, cancel := context.WithTimeout(ctx, visibleSeconds*time.Second)
	defer cancel()
	for {
		found, err := store.status(ctx, name)
		if err != nil {
			return err
		}
		if isSo(found) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the CRI plugin does not see what became of %s: %w", name, ctx.Err())
		case <-time.After(visibleInterval):
		}
	}
}

func describe(ctx context.Context, image containerd.Image) (Image, error) {
	size, err := image.Size(ctx)
	if err != nil {
		return Image{}, fmt.Errorf("size of %s: %w", image.Name(), err)
	}
	return Image{Name: image.Name(), Digest: image.Target().Digest.String(), Size: size}, nil
}
