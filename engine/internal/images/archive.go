package images

import (
	"archive/tar"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/distribution/reference"
)

// openArchive reads an archive as a plain tar stream; a directory becomes one.
func openArchive(path string) (io.ReadCloser, error) {
	information, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if information.IsDir() {
		return tarDirectory(path), nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	stream, err := compression.DecompressStream(file)
	if err != nil {
		file.Close()
		return nil, err
	}
	return &closers{Reader: stream, closers: []io.Closer{stream, file}}, nil
}

func tarDirectory(path string) io.ReadCloser {
	reader, writer := io.Pipe()
	go func() {
		archive := tar.NewWriter(writer)
		err := archive.AddFS(os.DirFS(path))
		if err == nil {
			err = archive.Close()
		}
		writer.CloseWithError(err)
	}()
	return reader
}

type closers struct {
	io.Reader
	closers []io.Closer
}

func (all *closers) Close() error {
	var first error
	for _, each := range all.closers {
		if err := each.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// imageName makes a whole name of an OCI layout's org.opencontainers.image.ref.name, which tools write as a name
// ("app:v1", by buildah) or as a tag alone ("v1", by skopeo): the file's name then says which image it is. Empty when
// no name can be made, so that the image is left out.
func imageName(ref, path string) string {
	if !strings.ContainsAny(ref, ":/@") {
		ref = repository(path) + ":" + ref
	}
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return ""
	}
	return named.String()
}

// repository is a file's name without the endings of archives.
func repository(path string) string {
	name := strings.ToLower(filepath.Base(filepath.Clean(path)))
	for _, ending := range []string{".gz", ".tgz", ".tar", ".oci"} {
		name = strings.TrimSuffix(name, ending)
	}
	return name
}
