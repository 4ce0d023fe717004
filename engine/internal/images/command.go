// Package images does with containerd's store what people ask for: images from archives and registries, under the names
// by which the kubelet asks for them, lists of them, archives of them, and their end.
package images

import (
	"context"
	"encoding/json"
	"errors"
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
       images pull --address SOCKET NAME < CREDENTIALS
       images remove --address SOCKET NAME...
       images save --address SOCKET NAME... > ARCHIVE
`

// Exit codes; absent says that there is no image of that name.
const (
	failure    = 1
	wrongUsage = 2
	absent     = 3
)

// namespace is where containerd's CRI plugin keeps what belongs to Kubernetes (containerd, docs/cri/crictl.md).
const namespace = "k8s.io"

// connectSeconds bounds the wait for containerd's socket.
const connectSeconds = 10

// Streams are a command's standard streams.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// action is a command of the applet. Each image is one JSON line on standard output, written when it can be used.
type action struct {
	takesNames bool
	run        func(context.Context, *Store, []string, Streams) error
}

var actions = map[string]action{
	"load":   {takesNames: true, run: loadAll},
	"list":   {run: list},
	"pull":   {takesNames: true, run: pull},
	"remove": {takesNames: true, run: remove},
	"save":   {takesNames: true, run: save},
}

// Main runs a command with the arguments after the applet's name and returns the exit code: 1 with one line on stderr
// for a failure, 2 for wrong usage, 3 when there is no such image.
func Main(arguments []string, streams Streams) int {
	if len(arguments) == 0 {
		fmt.Fprint(streams.Err, usage)
		return wrongUsage
	}
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	flags.SetOutput(streams.Err)
	flags.Usage = func() { fmt.Fprint(streams.Err, usage) }
	address := flags.String("address", "", "containerd's socket")
	snapshotter := flags.String("snapshotter", "overlayfs", "where layers are unpacked")
	if flags.Parse(arguments[1:]) != nil {
		return wrongUsage
	}
	chosen, known := actions[arguments[0]]
	if !known || *address == "" || chosen.takesNames != (flags.NArg() > 0) {
		flags.Usage()
		return wrongUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := withStore(*address, *snapshotter, func(store *Store) error {
		return chosen.run(ctx, store, flags.Args(), streams)
	})
	if err == nil {
		return 0
	}
	fmt.Fprintf(streams.Err, "error: %v\n", err)
	if errors.Is(err, errAbsent) {
		return absent
	}
	return failure
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

func loadAll(ctx context.Context, store *Store, archives []string, streams Streams) error {
	for _, path := range archives {
		loaded, err := store.Load(ctx, path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := writeLines(streams.Out, loaded); err != nil {
			return err
		}
	}
	return nil
}

func list(ctx context.Context, store *Store, _ []string, streams Streams) error {
	found, err := store.List(ctx)
	if err != nil {
		return err
	}
	return writeLines(streams.Out, found)
}

// pull takes the credentials, as JSON, from standard input: a command line can be read by every user.
func pull(ctx context.Context, store *Store, names []string, streams Streams) error {
	var credentials Credentials
	if err := json.NewDecoder(streams.In).Decode(&credentials); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("credentials: %w", err)
	}
	for _, name := range names {
		pulled, err := store.Pull(ctx, name, credentials)
		if err != nil {
			return err
		}
		if err := writeLines(streams.Out, []Image{pulled}); err != nil {
			return err
		}
	}
	return nil
}

// remove looks at all images before it removes the first.
func remove(ctx context.Context, store *Store, names []string, streams Streams) error {
	for _, name := range names {
		if err := store.CheckRemovable(ctx, name); err != nil {
			return err
		}
	}
	for _, name := range names {
		removed, err := store.Remove(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := writeLines(streams.Out, []Removed{removed}); err != nil {
			return err
		}
	}
	return nil
}

func save(ctx context.Context, store *Store, names []string, streams Streams) error {
	return store.Save(ctx, names, streams.Out)
}

func writeLines[Line any](stdout io.Writer, found []Line) error {
	encoder := json.NewEncoder(stdout)
	for _, line := range found {
		if err := encoder.Encode(line); err != nil {
			return err
		}
	}
	return nil
}
