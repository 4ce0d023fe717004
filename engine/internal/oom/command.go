// Package oom tells containerd that a container was killed for want of memory, where no kernel tells it: the shim
// learns of it from the kernel's control groups only. The kubelet then says OOMKilled.
package oom

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	events "github.com/containerd/containerd/api/events"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/runtime"
)

const usage = "usage: oom --address SOCKET [--timeout DURATION] CONTAINER\n"

// namespace is where containerd's CRI plugin keeps what belongs to Kubernetes (containerd, docs/cri/crictl.md).
const namespace = "k8s.io"

// Main publishes the event and returns the exit code: 1 with one line on stderr for a failure, 2 for wrong usage.
// CONTAINER is a container's id or the last name of its control group, which a driver may have put around it.
func Main(arguments []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("oom", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	address := flags.String("address", "", "containerd's socket")
	timeout := flags.Duration("timeout", 4*time.Second, "how long to wait for containerd")
	if flags.Parse(arguments) != nil {
		return 2
	}
	if *address == "" || flags.NArg() != 1 {
		flags.Usage()
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	if err := publish(ctx, *address, *timeout, containerOf(flags.Arg(0))); err != nil {
		fmt.Fprintf(stderr, "error: %v\n", err)
		return 1
	}
	return 0
}

// publish sends what a shim would send.
func publish(ctx context.Context, address string, timeout time.Duration, container string) error {
	client, err := containerd.New(
		address, containerd.WithDefaultNamespace(namespace), containerd.WithTimeout(timeout),
	)
	if err != nil {
		return fmt.Errorf("containerd at %s: %w", address, err)
	}
	defer client.Close()
	event := &events.TaskOOM{ContainerID: container}
	if err := client.EventService().Publish(ctx, runtime.TaskOOMEventTopic, event); err != nil {
		return fmt.Errorf("telling containerd of %s: %w", container, err)
	}
	return nil
}

// containerOf is the container's id: the systemd driver names the group cri-containerd-ID.scope.
func containerOf(group string) string {
	name := strings.TrimSuffix(group, ".scope")
	return name[strings.LastIndex(name, "-")+1:]
}
