package simulation

import (
	"fmt"
	"slices"

	"sigs.k8s.io/kwok/kustomize/stage/node/fast"
	heartbeat "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	podfast "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	"sigs.k8s.io/kwok/pkg/apis/internalversion"
	"sigs.k8s.io/kwok/pkg/apis/v1alpha1"
	"sigs.k8s.io/yaml"
)

// message is where a pod says of itself what it is: in its status, and as an event.
const message = "simulated by kwok: nothing in this pod runs"

// marks are a label by which simulated pods can be selected; it is what the nodes' annotation is called.
const marks = "labels:\n  kwok.x-k8s.io/node: fake\n"

// completion is what the kubelet says of a pod whose containers have ended, and upstream's stage leaves as it was.
const completion = `
conditions:
{{ range tuple "Ready" "ContainersReady" }}
- type: {{ . | Quote }}
  status: "False"
  reason: PodCompleted
  lastTransitionTime: {{ $now | Quote }}
{{ end }}
`

// durationAnnotation is upstream's name for how long a pod runs before it completes (kustomize/stage/pod/general).
const durationAnnotation = `.metadata.annotations["pod-complete.stage.kwok.x-k8s.io/delay"]`

// Long enough to be seen running.
var duration int64 = 1000 // milliseconds

// stages are upstream's, by the kind of what goes through them, with our changes to two of them.
func stages() (map[internalversion.StageResourceRef][]*internalversion.Stage, error) {
	found := map[internalversion.StageResourceRef][]*internalversion.Stage{}
	for _, each := range []struct {
		text   string
		change func(*internalversion.StageSpec) error
	}{
		{fast.DefaultNodeInit, nil},
		{heartbeat.DefaultNodeHeartbeatWithLease, nil},
		{podfast.DefaultPodReady, mark},
		{podfast.DefaultPodComplete, complete},
		{podfast.DefaultPodDelete, nil},
	} {
		stage, err := parse(each.text)
		if err != nil {
			return nil, err
		}
		if each.change != nil {
			if err := each.change(&stage.Spec); err != nil {
				return nil, fmt.Errorf("stage %s of kwok: %w", stage.Name, err)
			}
		}
		found[stage.Spec.ResourceRef] = append(found[stage.Spec.ResourceRef], stage)
	}
	return found, nil
}

func parse(text string) (*internalversion.Stage, error) {
	var stage v1alpha1.Stage
	if err := yaml.UnmarshalStrict([]byte(text), &stage); err != nil {
		return nil, err
	}
	return internalversion.ConvertToInternalStage(&stage)
}

// mark makes a pod say that it is simulated. The label comes last: were it first, its change would be seen while the
// pod is still Pending, and the stage be played once more.
func mark(spec *internalversion.StageSpec) error {
	if err := extend(spec, fmt.Sprintf("\nmessage: %q\n", message)); err != nil {
		return err
	}
	kind := internalversion.StagePatchTypeMergePatch
	spec.Steps = append(spec.Steps,
		internalversion.StageStep{Event: &internalversion.StageEvent{Type: "Normal", Reason: "Simulated", Message: message}},
		internalversion.StageStep{Patch: &internalversion.StagePatch{Root: "metadata", Template: marks, Type: &kind}},
	)
	return nil
}

// complete lets every pod complete that is not to run for ever, and not only a Job's: hooks and tests of charts are pods
// of their own, and `helm test` waits for their end.
func complete(spec *internalversion.StageSpec) error {
	expressions := spec.Selector.MatchExpressions
	ofJob := slices.IndexFunc(expressions, func(each internalversion.MatchExpression) bool {
		return each.JQ != nil && each.JQ.Key == ".metadata.ownerReferences.[].kind"
	})
	if ofJob < 0 {
		return fmt.Errorf("selects no Jobs")
	}
	expressions[ofJob].JQ = &internalversion.SelectorJQ{
		Key: ".spec.restartPolicy", Operator: "In", Values: []string{"Never", "OnFailure"},
	}
	spec.Delay = &internalversion.StageDelay{
		DurationMilliseconds: &duration,
		DurationFrom: &internalversion.ExpressionFrom{
			JQ: &internalversion.ExpressionJQ{Expression: durationAnnotation},
		},
	}
	return extend(spec, completion)
}

// extend adds to the template of a stage that changes a status.
func extend(spec *internalversion.StageSpec, addition string) error {
	for _, step := range spec.Steps {
		if step.Patch != nil && step.Patch.Subresource == "status" {
			step.Patch.Template += addition
			return nil
		}
	}
	return fmt.Errorf("changes no status")
}
