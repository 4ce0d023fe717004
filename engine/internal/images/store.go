package images

import (
	"context"
	"errors"
	"fmt"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"google.golang.org/grpc"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// visibleSeconds bounds the wait until the CRI plugin knows an image that is in the store already.
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
		// Layers are of no use beside their snapshots, and the store may well be in memory.
		containerd.WithDiscardUnpackedLayers(),
	)
	if err != nil {
		return nil, err
	}
	if len(imported) == 0 {
		return nil, errors.New("no image with a name in it")
	}
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

// List names what is in the store, the entries by digest that the CRI plugin adds included.
func (store *Store) List(ctx context.Context) ([]Image, error) {
	found, err := store.client.ListImages(ctx)
	if err != nil {
		return nil, err
	}
	described := make([]Image, 0, len(found))
	for _, each := range found {
		image, err := describe(ctx, each)
		if err != nil {
			return nil, err
		}
		described = append(described, image)
	}
	return described, nil
}

// awaitVisible waits for the CRI plugin, which learns of images by events: a pod that asked earlier would be told that
// its image is absent.
func (store *Store) awaitVisible(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, visibleSeconds*time.Second)
	defer cancel()
	connection, isGRPC := store.client.Conn().(grpc.ClientConnInterface)
	if !isGRPC {
		return fmt.Errorf("containerd's connection is a %T", store.client.Conn())
	}
	service := runtime.NewImageServiceClient(connection)
	request := &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: name}}
	for {
		answer, err := service.ImageStatus(ctx, request)
		if err != nil {
			return fmt.Errorf("asking the CRI plugin for %s: %w", name, err)
		}
		if answer.GetImage() != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the CRI plugin does not see %s: %w", name, ctx.Err())
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
