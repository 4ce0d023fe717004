package forwarding

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// aRuntime knows one pod, and has events.
type aRuntime struct {
	cri.UnimplementedRuntimeServiceServer
	network cri.NamespaceMode
}

func (r aRuntime) PodSandboxStatus(
	_ context.Context, request *cri.PodSandboxStatusRequest,
) (*cri.PodSandboxStatusResponse, error) {
	if request.PodSandboxId != "known" {
		return nil, status.Errorf(codes.NotFound, "no sandbox %q", request.PodSandboxId)
	}
	options := &cri.NamespaceOption{Network: r.network}
	return &cri.PodSandboxStatusResponse{Status: &cri.PodSandboxStatus{
		Network: &cri.PodSandboxNetworkStatus{Ip: "127.0.0.7"},
		Linux:   &cri.LinuxPodSandboxStatus{Namespaces: &cri.Namespace{Options: options}},
	}}, nil
}

func (aRuntime) GetContainerEvents(
	_ *cri.GetEventsRequest, events grpc.ServerStreamingServer[cri.ContainerEventResponse],
) error {
	for number := range 3 {
		if err := events.Send(&cri.ContainerEventResponse{ContainerId: strconv.Itoa(number)}); err != nil {
			return err
		}
	}
	return status.Error(codes.Unavailable, "the runtime ends")
}

// served returns a client of the proxy in front of a runtime.
func served(t *testing.T, runtime aRuntime) cri.RuntimeServiceClient {
	t.Helper()
	directory := t.TempDir()
	listener, err := net.Listen("unix", filepath.Join(directory, "runtime.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	cri.RegisterRuntimeServiceServer(server, runtime)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	ours := filepath.Join(directory, "forwarding.sock")
	if err := Serve(ours, listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	connection, err := grpc.NewClient("unix://"+ours, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return cri.NewRuntimeServiceClient(connection)
}

func TestOtherCallsAreTheRuntimes(t *testing.T) {
	client := served(t, aRuntime{})
	found, err := client.PodSandboxStatus(t.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: "known"})
	if err != nil || found.Status.Network.Ip != "127.0.0.7" {
		t.Errorf("%v, %v", found, err)
	}
	_, err = client.PodSandboxStatus(t.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: "other"})
	if status.Code(err) != codes.NotFound || status.Convert(err).Message() != `no sandbox "other"` {
		t.Error(err)
	}
	if _, err = client.Version(t.Context(), &cri.VersionRequest{}); status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
}

func TestStreamsComeMessageByMessageWithTheirEnd(t *testing.T) {
	events, err := served(t, aRuntime{}).GetContainerEvents(t.Context(), &cri.GetEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for number := range 3 {
		event, err := events.Recv()
		if err != nil || event.ContainerId != strconv.Itoa(number) {
			t.Fatalf("%v, %v", event, err)
		}
	}
	if _, err = events.Recv(); status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
}

func TestAPortIsForwardedByAServerOfOurs(t *testing.T) {
	client := served(t, aRuntime{})
	found, err := client.PortForward(t.Context(), &cri.PortForwardRequest{PodSandboxId: "known", Port: []int32{80}})
	if err != nil {
		t.Fatal(err)
	}
	place, err := url.Parse(found.Url)
	if err != nil || place.Hostname() != loopback || place.Port() == "0" {
		t.Fatalf("%s, %v", found.Url, err)
	}
	// Without a protocol for streams it can only refuse, but it is there.
	response, err := http.Get(found.Url)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusForbidden && response.StatusCode != http.StatusBadRequest {
		t.Error(response.Status)
	}
}

// aPod answers a line when all of what is sent has come.
func aPod(t *testing.T, address string) int32 {
	t.Helper()
	listener, err := net.Listen("tcp4", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		defer connection.Close()
		said, _ := io.ReadAll(connection)
		fmt.Fprintf(connection, "heard %d bytes\n", len(said))
	}()
	return int32(listener.Addr().(*net.TCPAddr).Port)
}

// half is an end of a stream whose other end may say that it sends no more.
type half struct {
	io.Reader
	io.WriteCloser
}

func TestBothWaysAndTheAnswerAfterTheEnd(t *testing.T) {
	for name, each := range map[string]struct {
		network cri.NamespaceMode
		address string
	}{
		"a pod's address":    {cri.NamespaceMode_POD, "127.0.0.7"},
		"the node's network": {cri.NamespaceMode_NODE, loopback},
	} {
		t.Run(name, func(t *testing.T) {
			port := aPod(t, each.address)
			sent, send := io.Pipe()
			heard, hear := io.Pipe()
			result := make(chan error, 1)
			forwarding := pods{served(t, aRuntime{network: each.network})}
			go func() { result <- forwarding.PortForward(t.Context(), "known", port, half{sent, hear}) }()
			if _, err := io.WriteString(send, "12345"); err != nil {
				t.Fatal(err)
			}
			send.Close()
			line, err := bufio.NewReader(heard).ReadString('\n')
			if err != nil || line != "heard 5 bytes\n" {
				t.Errorf("%q, %v", line, err)
			}
			if err := <-result; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatCannotBeReachedIsSaid(t *testing.T) {
	forwarding := pods{served(t, aRuntime{})}
	for _, sandbox := range []string{"known", "other"} {
		_, hear := io.Pipe()
		// Nobody listens on port 1.
		if err := forwarding.PortForward(t.Context(), sandbox, 1, half{nothing{}, hear}); err == nil {
			t.Errorf("%s: no error", sandbox)
		}
	}
}

func TestItEndsWithWhoeverAsked(t *testing.T) {
	port := aPod(t, "127.0.0.7")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	silent, _ := io.Pipe()
	_, hear := io.Pipe()
	err := pods{served(t, aRuntime{})}.PortForward(ctx, "known", port, half{silent, hear})
	if !errors.Is(err, net.ErrClosed) && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// nothing is a reader of nothing.
type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, io.EOF }
