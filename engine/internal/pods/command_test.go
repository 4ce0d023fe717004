package pods

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	criv1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	fake "k8s.io/cri-api/pkg/apis/testing"
)

func TestAContainerGetsItsPodsGraceUpToTheLongest(t *testing.T) {
	for annotation, wanted := range map[string]time.Duration{
		"":      30 * time.Second,
		"5":     5 * time.Second,
		"0":     0,
		"3600":  30 * time.Second,
		"-1":    30 * time.Second,
		"three": 30 * time.Second,
	} {
		annotations := map[string]string{}
		if annotation != "" {
			annotations[graceAnnotation] = annotation
		}
		if found := graceOf(annotations, 30*time.Second); found != wanted {
			t.Errorf("%q: %v, not %v", annotation, found, wanted)
		}
	}
}

// The runtime is upstream's own fake: what is tested is which containers are told to end, and what is said of a failure.
func runtimeWith(states map[string]criv1.ContainerState) *fake.FakeRuntimeService {
	runtime := fake.NewFakeRuntimeService()
	containers := []*fake.FakeContainer{}
	for name, state := range states {
		container := &fake.FakeContainer{}
		container.Id, container.Metadata, container.State = name, &criv1.ContainerMetadata{Name: name}, state
		containers = append(containers, container)
	}
	runtime.SetFakeContainers(containers)
	return runtime
}

func TestWhatRunsIsStopped(t *testing.T) {
	runtime := runtimeWith(map[string]criv1.ContainerState{
		"one":  criv1.ContainerState_CONTAINER_RUNNING,
		"two":  criv1.ContainerState_CONTAINER_RUNNING,
		"over": criv1.ContainerState_CONTAINER_EXITED,
	})
	if err := stopAll(context.Background(), runtime, time.Second); err != nil {
		t.Fatal(err)
	}
	calls := 0
	for _, call := range runtime.GetCalls() {
		if call == "StopContainer" {
			calls++
		}
	}
	if calls != 2 {
		t.Errorf("%d containers were told to end: %v", calls, runtime.GetCalls())
	}
}

func TestAFailureNamesItsContainer(t *testing.T) {
	runtime := runtimeWith(map[string]criv1.ContainerState{"stubborn": criv1.ContainerState_CONTAINER_RUNNING})
	runtime.InjectError("StopContainer", errors.New("does not end"))
	err := stopAll(context.Background(), runtime, time.Second)
	if err == nil || !strings.Contains(err.Error(), "stubborn") || !strings.Contains(err.Error(), "does not end") {
		t.Error(err)
	}
}

func TestWrongUsage(t *testing.T) {
	for _, arguments := range [][]string{nil, {"start"}, {"stop"}, {"stop", "--address", "/a", "more"}, {"stop", "--no"}} {
		var said bytes.Buffer
		if code := Main(arguments, &said); code != 2 || !strings.Contains(said.String(), "usage: pods stop") {
			t.Errorf("%v: %d, %s", arguments, code, said.String())
		}
	}
}
