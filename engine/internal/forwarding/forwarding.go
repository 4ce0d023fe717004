// Package forwarding answers `kubectl port-forward` where pods share the sandbox's network.
//
// The runtime looks for a pod's localhost in the pod's network namespace, which has no IP there. So the kubelet speaks to
// the runtime through a proxy in its own process, which passes every call on but the one for port-forward: that leads to
// a server of ours, which connects to the pod's address. The kubelet runs under the tracer, which leads it to the socket.
package forwarding

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// loopback is where streams are served, to the kubelet alone: it passes them on, and each has a secret name.
const loopback = "127.0.0.1"

// connectPatience bounds the wait for a pod that does not answer.
const connectPatience = 30 * time.Second

// The largest message of the kubelet's own client (k8s.io/cri-client, pkg/utils.go).
const largestMessage = 16 << 20

// Serve listens on the unix socket `address`, and passes what comes on to the runtime's socket. It returns when somebody
// can connect; what is served ends with the process.
func Serve(address, runtime string) error {
	connection, err := grpc.NewClient(
		"unix://"+runtime,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(largestMessage)),
	)
	if err != nil {
		return fmt.Errorf("runtime at %s: %w", runtime, err)
	}
	streams, err := newStreams(cri.NewRuntimeServiceClient(connection))
	if err != nil {
		return err
	}
	// Of a kubelet that was killed.
	if err := os.Remove(address); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", address)
	if err != nil {
		return err
	}
	go streams.Start(true)
	go newProxy(connection, streams).Serve(listener)
	return nil
}

// newStreams is upstream's server of streams, for connections to pods.
func newStreams(runtime cri.RuntimeServiceClient) (streaming.Server, error) {
	configuration := streaming.DefaultConfig
	configuration.Addr = net.JoinHostPort(loopback, "0")
	return streaming.NewServer(configuration, pods{runtime})
}

// pods connects to pods.
type pods struct {
	runtime cri.RuntimeServiceClient
}

// PortForward copies between a stream and a port of a pod until one of them ends.
func (p pods) PortForward(ctx context.Context, sandbox string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	address, err := p.address(ctx, sandbox)
	if err != nil {
		return err
	}
	dialer := net.Dialer{Timeout: connectPatience}
	connection, err := dialer.DialContext(ctx, "tcp4", net.JoinHostPort(address, strconv.Itoa(int(port))))
	if err != nil {
		return fmt.Errorf("failed to connect to port %d of the pod: %w", port, err)
	}
	defer connection.Close()
	return copyBoth(ctx, connection.(*net.TCPConn), stream)
}

// address is the pod's, or loopback for one that says that it shares the node's network.
func (p pods) address(ctx context.Context, sandbox string) (string, error) {
	found, err := p.runtime.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: sandbox})
	if err != nil {
		return "", err
	}
	if found.GetStatus().GetLinux().GetNamespaces().GetOptions().GetNetwork() == cri.NamespaceMode_NODE {
		return loopback, nil
	}
	if address := found.GetStatus().GetNetwork().GetIp(); address != "" {
		return address, nil
	}
	return "", fmt.Errorf("pod sandbox %s has no address", sandbox)
}

// copyBoth ends when the pod has said everything, or nobody listens to it any more. The end of what is sent to the pod is
// told to it, and what it answers then still comes.
func copyBoth(ctx context.Context, pod *net.TCPConn, stream io.ReadWriter) error {
	go func() {
		_, _ = io.Copy(pod, stream)
		_ = pod.CloseWrite()
	}()
	stop := context.AfterFunc(ctx, func() { _ = pod.Close() })
	defer stop()
	_, err := io.Copy(stream, pod)
	return err
}

// Exec is the runtime's own.
func (pods) Exec(
	context.Context, string, []string, io.Reader, io.WriteCloser, io.WriteCloser, bool, <-chan remotecommand.TerminalSize,
) error {
	return errors.ErrUnsupported
}

// Attach is the runtime's own.
func (pods) Attach(
	context.Context, string, io.Reader, io.WriteCloser, io.WriteCloser, bool, <-chan remotecommand.TerminalSize,
) error {
	return errors.ErrUnsupported
}
