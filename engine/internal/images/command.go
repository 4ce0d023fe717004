// Package images brings image archives into containerd's store, under the names by which the kubelet asks for them.
package images

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
)

const usage = `usage: images load --address SOCKET [--snapshotter NAME] ARCHIVE...
       images list --address SOCKET
`

// namespace is where containerd's CRI plugin keeps what belongs to Kubernetes (containerd, docs/cri/crictl.md).
const namespace = "k8s.io"

// connectSeconds bounds the wait for containerd's socket.
const connectSeconds = 10

// Main runs `load` or `list` with the arguments after the applet's name and returns the exit code: 1 with one line on
// stderr for a failure, 2 for wrong usage. Each image is one JSON line on stdout, written when the image can be used.
func Main(arguments []string, stdout, stderr io.Writer) int {
	if len(arguments) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	address := flags.String("address", "", "containerd's socket")
	snapshotter := flags.String("snapshotter", "overlayfs", "where layers are unpacked")
	if flags.Parse(arguments[1:]) != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var action func(*Store) error
	switch {
	case *address == "":
		flags.Usage()
		return 2
	case arguments[0] == "load" && flags.NArg() > 0:
		action = func(store *Store) error { return loadAll(ctx, store, flags.Args(), stdout) }
	case arguments[0] == "list" && flags.NArg() == 0:
		action = func(store *Store) error { return list(ctx, store, stdout) }
	default:
		flags.Usage()
		return 2
	}
	if err := withStore(*address, *snapshotter, action); err != nil {
		fmt.Fprintf(stderr, "error: %v\n", err)
		return 1
	}
	return 0
}

func withStore(address, snapshotter string, action func(*Store) error) error {
	client, err := containerd.New(
		address, containerd.WithDefaultNamespace(namespace), containerd.WithTimeout(connectSeconds*time.Second),
	)
	if err != nil {
		return fmt.Errorf("containerd at %s: %w", address, err)
	}
	defer client.Close()
	return action(NewStore(client, snapshotter))
}

func loadAll(ctx context.Context, store *Store, archives []string, stdout io.Writer) error {
	for _, path := range archives {
		loaded, err := store.Load(ctx, path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := writeLines(stdout, loaded); err != nil {
			return err
		}
	}
	return nil
}

func list(ctx context.Context, store *Store, stdout io.Writer) error {
	found, err := store.List(ctx)
	if err != nil {
		return err
	}
	return writeLines(stdout, found)
}

func writeLines(stdout io.Writer, found []Image) error {
	encoder := json.NewEncoder(stdout)
	for _, image := range found {
		if err := encoder.Encode(image); err != nil {
			return err
		}
	}
	return nil
}
