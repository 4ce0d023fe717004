package images

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestImageName(t *testing.T) {
	for _, test := range []struct{ ref, path, want string }{
		{"app:v1", "/x/other.tar", "docker.io/library/app:v1"},
		{"ghcr.io/me/app:v1", "/x/other.tar", "ghcr.io/me/app:v1"},
		{"localhost/app", "/x/other.tar", "localhost/app:latest"},
		{"v1", "/x/app.tar.gz", "docker.io/library/app:v1"},
		{"v1", "/x/layout/", "docker.io/library/layout:v1"},
		{"v1", "/x/App.OCI.tgz", "docker.io/library/app:v1"},
		{"NOT A NAME", "/x/app.tar", ""},
		{"", "/x/app.tar", ""},
	} {
		if got := imageName(test.ref, test.path); got != test.want {
			t.Errorf("imageName(%q, %q) = %q, want %q", test.ref, test.path, got, test.want)
		}
	}
}

func names(t *testing.T, path string) []string {
	t.Helper()
	stream, err := openArchive(path)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var found []string
	for reader := tar.NewReader(stream); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, header.Name)
	}
}

func TestOpenArchive(t *testing.T) {
	directory := t.TempDir()
	if err := os.WriteFile(filepath.Join(directory, "index.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if found := names(t, directory); len(found) != 1 || found[0] != "index.json" {
		t.Errorf("a layout's directory holds %q", found)
	}
	packed := filepath.Join(t.TempDir(), "layout.tar.gz")
	file, err := os.Create(packed)
	if err != nil {
		t.Fatal(err)
	}
	compressor := gzip.NewWriter(file)
	writer := tar.NewWriter(compressor)
	if err := errors.Join(writer.AddFS(os.DirFS(directory)), writer.Close(), compressor.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	if found := names(t, packed); len(found) != 1 || found[0] != "index.json" {
		t.Errorf("a gzip archive holds %q", found)
	}
	if _, err := openArchive(filepath.Join(directory, "absent.tar")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent archive gives %v", err)
	}
}
