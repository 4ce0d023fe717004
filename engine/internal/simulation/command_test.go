package simulation

import (
	"context"
	"slices"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
)

const patience = 20 * time.Second

func node(name string, annotations map[string]string) *v1.Node {
	return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}}
}

// become waits until a pod is as wanted.
func become(t *testing.T, client kubernetes.Interface, name string, wanted func(*v1.Pod) bool) {
	t.Helper()
	var found *v1.Pod
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, patience, true,
		func(ctx context.Context) (bool, error) {
			var err error
			found, err = client.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
			return err == nil && wanted(found), err
		})
	if err != nil {
		t.Fatalf("%v: %v", err, found)
	}
}

// An API server is in the scenarios; here is what the controllers make of our stages, addresses and selection.
func TestOnlyPodsOnSimulatedNodesAreSimulated(t *testing.T) {
	other := podOn("real")
	other.Name = "real"
	client := fake.NewClientset(
		node("simulated", map[string]string{"kwok.x-k8s.io/node": "fake"}), node("real", nil), podOn("simulated"), other,
	)
	given := options{podRange: "198.18.0.0/16", port: 10250}
	simulator, err := newSimulator(client, poolOf(t, podAt("198.18.0.1")), given)
	if err != nil {
		t.Fatal(err)
	}
	if err := simulator.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	become(t, client, "web", func(pod *v1.Pod) bool {
		return pod.Status.Phase == v1.PodRunning && pod.Labels["kwok.x-k8s.io/node"] == "fake"
	})
	become(t, client, "web", func(pod *v1.Pod) bool { return pod.Status.PodIP == "198.18.0.2" })
	become(t, client, "real", func(pod *v1.Pod) bool { return pod.Status.Phase == v1.PodPending })
	played, err := client.CoreV1().Nodes().Get(t.Context(), "simulated", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ready := slices.ContainsFunc(played.Status.Conditions, func(each v1.NodeCondition) bool {
		return each.Type == v1.NodeReady && each.Status == v1.ConditionTrue
	})
	if !ready || played.Status.DaemonEndpoints.KubeletEndpoint.Port != 10250 {
		t.Errorf("node: %v", played.Status)
	}
}
