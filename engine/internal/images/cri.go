package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// errAbsent says that there is no image of a name.
var errAbsent = errors.New("no such image")

// Listed is an image as the kubelet sees it, with all its names. ID is the digest of its configuration; Size is that of
// the compressed content in bytes. The kubelet never collects a pinned one.
type Listed struct {
	ID      string   `json:"id"`
	Names   []string `json:"names"`
	Digests []string `json:"digests"`
	Size    uint64   `json:"size"`
	Pinned  bool     `json:"pinned"`
}

// Removed is a name that is gone; Deleted says whether its image went with it, which had no other name.
type Removed struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Deleted bool   `json:"deleted"`
}

// Credentials are what a registry asks for; all empty for none.
type Credentials struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identity_token"`
}

// service is the image service of the Container Runtime Interface, which the kubelet uses too.
func (store *Store) service() (runtime.ImageServiceClient, error) {
	connection, isGRPC := store.client.Conn().(grpc.ClientConnInterface)
	if !isGRPC {
		return nil, fmt.Errorf("containerd's connection is a %T", store.client.Conn())
	}
	return runtime.NewImageServiceClient(connection), nil
}

// status is what the CRI plugin knows of an image by a name or ID; nil when it knows none.
func (store *Store) status(ctx context.Context, name string) (*runtime.Image, error) {
	service, err := store.service()
	if err != nil {
		return nil, err
	}
	answer, err := service.ImageStatus(ctx, &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: name}})
	if err != nil {
		return nil, fmt.Errorf("asking the CRI plugin for %s: %w", name, err)
	}
	return answer.GetImage(), nil
}

func (store *Store) existing(ctx context.Context, name string) (*runtime.Image, error) {
	found, err := store.status(ctx, name)
	if err == nil && found == nil {
		return nil, fmt.Errorf("%w: %s", errAbsent, name)
	}
	return found, err
}

// List gives the images that pods can use, in the order of their names.
func (store *Store) List(ctx context.Context) ([]Listed, error) {
	service, err := store.service()
	if err != nil {
		return nil, err
	}
	answer, err := service.ListImages(ctx, &runtime.ListImagesRequest{})
	if err != nil {
		return nil, err
	}
	listed := make([]Listed, 0, len(answer.GetImages()))
	for _, image := range answer.GetImages() {
		listed = append(listed, Listed{
			ID:      image.GetId(),
			Names:   sorted(image.GetRepoTags()),
			Digests: sorted(image.GetRepoDigests()),
			Size:    image.GetSize(),
			Pinned:  image.GetPinned(),
		})
	}
	slices.SortFunc(listed, func(a, b Listed) int {
		return strings.Compare(strings.Join(append(a.Names, a.ID), " "), strings.Join(append(b.Names, b.ID), " "))
	})
	return listed, nil
}

// sorted never gives nil, which JSON would call null.
func sorted(names []string) []string {
	return append([]string{}, slices.Sorted(slices.Values(names))...)
}

// Pull gets an image as the kubelet would: by the same service, with the same registries, mirrors and proxy.
func (store *Store) Pull(ctx context.Context, name string, credentials Credentials) (Image, error) {
	service, err := store.service()
	if err != nil {
		return Image{}, err
	}
	named, err := reference.ParseDockerRef(name)
	if err != nil {
		return Image{}, fmt.Errorf("%s: %w", name, err)
	}
	request := &runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: named.String()}}
	if credentials != (Credentials{}) {
		request.Auth = &runtime.AuthConfig{
			Username: credentials.Username, Password: credentials.Password, IdentityToken: credentials.IdentityToken,
		}
	}
	if _, err := service.PullImage(ctx, request); err != nil {
		return Image{}, errors.New(status.Convert(err).Message())
	}
	image, err := store.client.GetImage(ctx, named.String())
	if err != nil {
		return Image{}, err
	}
	return describe(ctx, image)
}

// CheckRemovable fails for an image that is not there, and for the one that every pod needs.
func (store *Store) CheckRemovable(ctx context.Context, name string) error {
	found, err := store.existing(ctx, name)
	if err != nil {
		return err
	}
	if found.GetPinned() {
		return fmt.Errorf("%s belongs to the node: every pod needs it", name)
	}
	return nil
}

// Remove takes a name away, and the image with its last one; an ID takes away all of its image's names.
func (store *Store) Remove(ctx context.Context, name string) (Removed, error) {
	found, err := store.existing(ctx, name)
	if err != nil {
		return Removed{}, err
	}
	service, err := store.service()
	if err != nil {
		return Removed{}, err
	}
	named, err := reference.ParseDockerRef(name)
	if err == nil && slices.Contains(found.GetRepoTags(), named.String()) && len(found.GetRepoTags()) > 1 {
		return Removed{Name: named.String(), ID: found.GetId()}, store.untag(ctx, named, found)
	}
	removed := Removed{Name: name, ID: found.GetId(), Deleted: true}
	if err == nil && len(found.GetRepoTags()) == 1 {
		removed.Name = found.GetRepoTags()[0]
	}
	_, err = service.RemoveImage(ctx, &runtime.RemoveImageRequest{Image: &runtime.ImageSpec{Image: found.GetId()}})
	return removed, err
}

// untag removes one of several names, and the digests of its repository if no other name is of that.
func (store *Store) untag(ctx context.Context, named reference.Named, image *runtime.Image) error {
	gone := []string{named.String()}
	isOther := func(name string) bool {
		return name != named.String() && strings.HasPrefix(name, named.Name()+":")
	}
	if !slices.ContainsFunc(image.GetRepoTags(), isOther) {
		for _, digest := range image.GetRepoDigests() {
			if strings.HasPrefix(digest, named.Name()+"@") {
				gone = append(gone, digest)
			}
		}
	}
	for _, name := range gone {
		if err := store.client.ImageService().Delete(ctx, name); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	return store.await(ctx, image.GetId(), func(found *runtime.Image) bool {
		return !slices.Contains(found.GetRepoTags(), named.String())
	})
}

// Save writes images as one archive that is an OCI layout and a docker archive at once. All are looked at before the
// first byte is written.
func (store *Store) Save(ctx context.Context, names []string, out io.Writer) error {
	options := []archive.ExportOpt{archive.WithPlatform(platforms.DefaultStrict())}
	for _, name := range names {
		found, err := store.existing(ctx, name)
		if err != nil {
			return err
		}
		chosen, err := savedName(name, found)
		if err != nil {
			return err
		}
		options = append(options, archive.WithImage(store.client.ImageService(), chosen))
	}
	return store.client.Export(ctx, out, options...)
}

// savedName is the name in an archive: the one that was given, or for an ID the image's first one.
func savedName(given string, image *runtime.Image) (string, error) {
	named, err := reference.ParseDockerRef(given)
	if err == nil && slices.Contains(slices.Concat(image.GetRepoTags(), image.GetRepoDigests()), named.String()) {
		return named.String(), nil
	}
	if len(image.GetRepoTags()) == 0 {
		return "", fmt.Errorf("%s has no name to be saved by", given)
	}
	return image.GetRepoTags()[0], nil
}
