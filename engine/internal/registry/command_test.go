package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const mediaType = "application/vnd.oci.image.manifest.v1+json"

// serve starts a registry over a directory, as a new process would.
func serve(t *testing.T, directory string) string {
	t.Helper()
	handler, err := newHandler(context.Background(), directory)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func call(t *testing.T, method, address string, content []byte) *http.Response {
	t.Helper()
	request, err := http.NewRequest(method, address, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", mediaType)
	request.Header.Set("Accept", mediaType)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return answer
}

// push uploads a blob in one piece (distribution-spec, "POST then PUT").
func push(t *testing.T, registry, repository string, content []byte) string {
	t.Helper()
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(content))
	begun := call(t, http.MethodPost, registry+"/v2/"+repository+"/blobs/uploads/", nil)
	if begun.StatusCode != http.StatusAccepted {
		t.Fatalf("an upload begins with %s", begun.Status)
	}
	place := begun.Header.Get("Location")
	separator := "?"
	if strings.Contains(place, "?") {
		separator = "&"
	}
	if ended := call(t, http.MethodPut, place+separator+"digest="+digest, content); ended.StatusCode != http.StatusCreated {
		t.Fatalf("an upload ends with %s", ended.Status)
	}
	return digest
}

func TestImagesSurviveARestart(t *testing.T) {
	directory := t.TempDir()
	first := serve(t, directory)
	configuration := []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`)
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[]}`,
		mediaType, push(t, first, "me/app", configuration), len(configuration))
	if put := call(t, http.MethodPut, first+"/v2/me/app/manifests/1", manifest); put.StatusCode != http.StatusCreated {
		t.Fatalf("a manifest is answered with %s", put.Status)
	}
	second := serve(t, directory)
	answer := call(t, http.MethodGet, second+"/v2/me/app/manifests/1", nil)
	if found, err := io.ReadAll(answer.Body); err != nil || !bytes.Equal(found, manifest) {
		t.Errorf("after a restart the manifest is %q, %v", found, err)
	}
}

func TestWrongUsage(t *testing.T) {
	for _, arguments := range [][]string{nil, {"--address", "127.0.0.1:0"}, {"--directory", "/x"}, {"--no-such"}} {
		if code := Main(arguments, io.Discard); code != 2 {
			t.Errorf("%q exits with %d", arguments, code)
		}
	}
}

func TestATakenAddress(t *testing.T) {
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	address := strings.TrimPrefix(taken.URL, "http://")
	var said bytes.Buffer
	if code := Main([]string{"--address", address, "--directory", t.TempDir()}, &said); code != 1 {
		t.Errorf("exits with %d", code)
	}
	if !strings.Contains(said.String(), "address already in use") {
		t.Errorf("says %q", said.String())
	}
}
