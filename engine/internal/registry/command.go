// Package registry is a registry of images on loopback: the CNCF distribution project's own, with its files in one
// directory, without TLS and without users.
package registry

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // the only kind of storage here
	"github.com/sirupsen/logrus"
)

const usage = "usage: registry --address HOST:PORT --directory DIRECTORY\n"

const (
	// stopSeconds is how long requests may go on after SIGTERM; the supervisor kills after three.
	stopSeconds = 2
	// headerSeconds bounds the wait for a request's header.
	headerSeconds = 30
)

// Main serves until SIGTERM or SIGINT and returns the exit code: 1 with one line on stderr for a failure, 2 for wrong
// usage. It tells its supervisor (sd_notify(3)) when it listens.
func Main(arguments []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("registry", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	address := flags.String("address", "", "where to listen")
	directory := flags.String("directory", "", "where images are kept")
	if flags.Parse(arguments) != nil {
		return 2
	}
	if *address == "" || *directory == "" || flags.NArg() > 0 {
		flags.Usage()
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *address, *directory); err != nil {
		fmt.Fprintf(stderr, "error: %v\n", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, address, directory string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	handler, err := newHandler(ctx, directory)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: headerSeconds * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopSeconds*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return server.Close()
}

// newHandler is upstream's registry over a directory.
func newHandler(ctx context.Context, directory string) (http.Handler, error) {
	logrus.SetLevel(logrus.WarnLevel)
	document, err := json.Marshal(map[string]any{
		"version": "0.1",
		"storage": map[string]any{
			"filesystem": map[string]any{"rootdirectory": directory},
			"delete":     map[string]any{"enabled": true},
		},
		// It signs the state of uploads, which no restart has to survive; without one there is a warning.
		"http": map[string]any{"secret": rand.Text()},
	})
	if err != nil {
		return nil, err
	}
	// JSON is YAML; what is not said here gets upstream's defaults.
	parsed, err := configuration.Parse(strings.NewReader(string(document)))
	if err != nil {
		return nil, err
	}
	return handlers.NewApp(ctx, parsed), nil
}
