package simulation

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/kwok/pkg/apis/internalversion"
	"sigs.k8s.io/kwok/pkg/utils/gotpl"
	"sigs.k8s.io/kwok/pkg/utils/lifecycle"
)

// What upstream's controllers would tell a template of the surroundings.
var around = gotpl.FuncMap{
	"NodeIPsWith": func(string) []string { return []string{"198.19.0.1"} },
	"PodIPsWith":  func(string, bool, string, string, string) []string { return []string{"198.18.0.1"} },
}

func podOn(node string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", Labels: map[string]string{"app": "web"}},
		Spec: v1.PodSpec{
			NodeName:      node,
			RestartPolicy: v1.RestartPolicyAlways,
			Containers:    []v1.Container{{Name: "main", Image: "example/web"}},
		},
		Status: v1.PodStatus{Phase: v1.PodPending},
	}
}

func lifecycleOfPods(t *testing.T) lifecycle.Lifecycle {
	t.Helper()
	all, err := stages()
	if err != nil {
		t.Fatal(err)
	}
	found, err := lifecycle.NewLifecycle(all[internalversion.StageResourceRef{APIGroup: "v1", Kind: "Pod"}])
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// stageFor is the next one of a pod; nil where it stays as it is.
func stageFor(t *testing.T, pod *v1.Pod) *lifecycle.Stage {
	t.Helper()
	stage, err := lifecycleOfPods(t).Match(context.Background(), eventOf(pod))
	if err != nil {
		t.Fatal(err)
	}
	return stage
}

func eventOf(pod *v1.Pod) *lifecycle.Event {
	return &lifecycle.Event{Labels: pod.Labels, Annotations: pod.Annotations, Data: pod}
}

// outcome is what a stage makes of a pod, in the order of its steps.
type outcome struct {
	states []*v1.Pod
	events []string
	gone   bool
}

func (o *outcome) last() *v1.Pod { return o.states[len(o.states)-1] }

func play(t *testing.T, pod *v1.Pod) *outcome {
	t.Helper()
	stage := stageFor(t, pod)
	if stage == nil {
		t.Fatalf("nothing happens to %v", pod)
	}
	result := &outcome{states: []*v1.Pod{pod}}
	_, err := stage.DoSteps(0, pod.Finalizers, pod, gotpl.NewRenderer(around),
		func(event *internalversion.StageEvent) error {
			result.events = append(result.events, event.Message)
			return nil
		},
		func() error { result.gone = true; return nil },
		func(patch *lifecycle.Patch) error {
			result.states = append(result.states, patched(t, result.last(), patch))
			return nil
		},
		nil,
	)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// patched does what the API server does; of pods a merge patch that only sets labels is the same as a strategic one.
func patched(t *testing.T, pod *v1.Pod, patch *lifecycle.Patch) *v1.Pod {
	t.Helper()
	if patch.Type == types.JSONPatchType {
		t.Fatalf("unexpected: %s", patch.Data)
	}
	before, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	after, err := strategicpatch.StrategicMergePatch(before, patch.Data, v1.Pod{})
	if err != nil {
		t.Fatal(err)
	}
	var changed v1.Pod
	if err := json.Unmarshal(after, &changed); err != nil {
		t.Fatal(err)
	}
	return &changed
}

func condition(pod *v1.Pod, kind v1.PodConditionType) v1.PodCondition {
	at := slices.IndexFunc(pod.Status.Conditions, func(each v1.PodCondition) bool { return each.Type == kind })
	if at < 0 {
		return v1.PodCondition{}
	}
	return pod.Status.Conditions[at]
}

func TestAPodRunsAndSaysWhatItIs(t *testing.T) {
	played := play(t, podOn("one"))
	pod := played.last()
	if pod.Status.Phase != v1.PodRunning || condition(pod, v1.PodReady).Status != v1.ConditionTrue {
		t.Errorf("status: %v", pod.Status)
	}
	if pod.Status.PodIP != "198.18.0.1" || pod.Status.HostIP != "198.19.0.1" {
		t.Errorf("addresses: %v", pod.Status)
	}
	if pod.Status.Message != message || !slices.Equal(played.events, []string{message}) {
		t.Errorf("it says %q, and events %q", pod.Status.Message, played.events)
	}
	if pod.Labels["kwok.x-k8s.io/node"] != "fake" || pod.Labels["app"] != "web" {
		t.Errorf("labels: %v", pod.Labels)
	}
}

func TestAPodIsRunningBeforeItHasItsLabel(t *testing.T) {
	// Else the label's change would be seen while the pod is Pending, and the stage be played twice.
	for _, state := range play(t, podOn("one")).states[1:] {
		if stage := stageFor(t, state); stage != nil {
			t.Errorf("stage %s follows on labels %v", stage.Name(), state.Labels)
		}
	}
}

func TestInitContainersHaveCompletedAndSidecarsRun(t *testing.T) {
	pod, always := podOn("one"), v1.ContainerRestartPolicyAlways
	pod.Spec.InitContainers = []v1.Container{
		{Name: "first", Image: "example/first"},
		{Name: "beside", Image: "example/beside", RestartPolicy: &always},
	}
	found := play(t, pod).last().Status.InitContainerStatuses
	if len(found) != 2 || found[0].State.Terminated == nil || found[1].State.Running == nil {
		t.Errorf("init containers: %v", found)
	}
}

func TestAPodThatIsNotToRunForEverCompletes(t *testing.T) {
	for _, policy := range []v1.RestartPolicy{v1.RestartPolicyNever, v1.RestartPolicyOnFailure} {
		pod := podOn("one")
		pod.Spec.RestartPolicy = policy
		pod = play(t, play(t, pod).last()).last()
		if pod.Status.Phase != v1.PodSucceeded || pod.Status.Message != message {
			t.Errorf("%s: status: %v", policy, pod.Status)
		}
		ended := pod.Status.ContainerStatuses[0].State.Terminated
		if ended == nil || ended.ExitCode != 0 {
			t.Errorf("%s: containers: %v", policy, pod.Status.ContainerStatuses)
		}
		for _, kind := range []v1.PodConditionType{v1.PodReady, v1.ContainersReady} {
			found := condition(pod, kind)
			if found.Status != v1.ConditionFalse || found.Reason != "PodCompleted" {
				t.Errorf("%s: %v", policy, found)
			}
		}
		if condition(pod, v1.PodInitialized).Status != v1.ConditionTrue {
			t.Errorf("%s: conditions: %v", policy, pod.Status.Conditions)
		}
		if stage := stageFor(t, pod); stage != nil {
			t.Errorf("%s: stage %s follows", policy, stage.Name())
		}
	}
}

func TestHowLongAPodRunsCanBeSaid(t *testing.T) {
	for said, expected := range map[string]time.Duration{"": time.Second, "90s": 90 * time.Second} {
		pod := podOn("one")
		pod.Spec.RestartPolicy = v1.RestartPolicyNever
		if said != "" {
			pod.Annotations = map[string]string{"pod-complete.stage.kwok.x-k8s.io/delay": said}
		}
		running := play(t, pod).last()
		delay, _, err := stageFor(t, running).Delay(context.Background(), eventOf(running), time.Now())
		if err != nil || delay != expected {
			t.Errorf("%q: %v, %v", said, delay, err)
		}
	}
}

func TestADeletedPodGoes(t *testing.T) {
	pod := play(t, podOn("one")).last()
	now := metav1.Now()
	pod.DeletionTimestamp = &now
	if !play(t, pod).gone {
		t.Error("it stays")
	}
}
