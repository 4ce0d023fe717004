// Package pods ends what runs on a node, as a machine does that shuts down: the kubelet is stopped before, or it would
// start the containers again.
package pods

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	criapi "k8s.io/cri-api/pkg/apis"
	criv1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	remote "k8s.io/cri-client/pkg"
)

const usage = "usage: pods stop --address SOCKET [--grace DURATION]\n"

// graceAnnotation is what the kubelet writes to each container: its pod's terminationGracePeriodSeconds
// (pkg/kubelet/kuberuntime/labels.go).
const graceAnnotation = "io.kubernetes.pod.terminationGracePeriod"

// runtimeTime bounds the wait for the runtime's socket, and for each answer (beyond a container's grace).
const runtimeTime = 10 * time.Second

// Main runs `stop` with the arguments after the applet's name and returns the exit code: 1 with one line on stderr for a
// failure, 2 for wrong usage. Each container gets the grace of its pod, but no more than --grace.
func Main(arguments []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("pods", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	address := flags.String("address", "", "the socket of the container runtime")
	grace := flags.Duration("grace", 30*time.Second, "how long a container may take to end, at the most")
	if len(arguments) == 0 || arguments[0] != "stop" {
		flags.Usage()
		return 2
	}
	if flags.Parse(arguments[1:]) != nil {
		return 2
	}
	if *address == "" || flags.NArg() > 0 {
		flags.Usage()
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	runtime, err := remote.NewRemoteRuntimeService(ctx, "unix://"+*address, runtimeTime, nil, false)
	if err == nil {
		err = stopAll(ctx, runtime, *grace)
	}
	if err != nil {
		fmt.Fprintf(stderr, "error: %v\n", err)
		return 1
	}
	return 0
}

// stopAll stops all containers at the same time; returns the first failure after all have been tried.
func stopAll(ctx context.Context, runtime criapi.RuntimeService, longest time.Duration) error {
	running := &criv1.ContainerFilter{State: &criv1.ContainerStateValue{State: criv1.ContainerState_CONTAINER_RUNNING}}
	containers, err := runtime.ListContainers(ctx, running)
	if err != nil {
		return fmt.Errorf("listing containers: %w", err)
	}
	failures := make(chan error, len(containers))
	var stopping sync.WaitGroup
	for _, each := range containers {
		stopping.Go(func() {
			grace := graceOf(each.GetAnnotations(), longest)
			if err := runtime.StopContainer(ctx, each.GetId(), int64(grace/time.Second)); err != nil {
				failures <- fmt.Errorf("stopping %s: %w", each.GetMetadata().GetName(), err)
			}
		})
	}
	stopping.Wait()
	close(failures)
	return <-failures
}

// graceOf is a pod's own grace as its containers carry it, or the longest one where they carry none.
func graceOf(annotations map[string]string, longest time.Duration) time.Duration {
	seconds, err := strconv.ParseInt(annotations[graceAnnotation], 10, 64)
	if err != nil || seconds < 0 {
		return longest
	}
	return min(time.Duration(seconds)*time.Second, longest)
}
