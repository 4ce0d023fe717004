package simulation

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
)

// poolOf has a range of six addresses for pods, .1 to .6 and the last one, .7, which nothing reserves here.
func poolOf(t *testing.T, there ...runtime.Object) *pool {
	t.Helper()
	found, err := newPool(t.Context(), fake.NewClientset(there...), netip.MustParsePrefix("198.18.0.0/29"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func podAt(address string) *v1.Pod {
	pod := podOn("one")
	pod.Name, pod.Status.PodIP = "at-"+address, address
	return pod
}

func given(t *testing.T, from *pool) string {
	t.Helper()
	found, err := from.addresses("one", false)
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	return found[0]
}

func TestAddressesOfPodsThatAreThereAreNotGiven(t *testing.T) {
	// As after a restart: these were given by a process that is gone.
	from := poolOf(t, podAt("198.18.0.1"), podAt("198.18.0.3"))
	var found []string
	for range 6 {
		found = append(found, given(t, from))
	}
	last := []string{"198.18.0.2", "198.18.0.4", "198.18.0.5", "198.18.0.6", "198.18.0.7", "198.18.0.2"}
	if !slices.Equal(found, last) {
		t.Errorf("given: %v", found)
	}
}

func TestAPodOfTheNodesNetworkTakesNoAddress(t *testing.T) {
	pod := podAt("198.18.0.1")
	pod.Spec.HostNetwork = true
	if found := given(t, poolOf(t, pod)); found != "198.18.0.1" {
		t.Errorf("given: %s", found)
	}
}

func TestAFullRangeIsAnError(t *testing.T) {
	var there []runtime.Object
	for number := range 7 {
		there = append(there, podAt(fmt.Sprintf("198.18.0.%d", number+1)))
	}
	if found, err := poolOf(t, there...).addresses("one", false); err == nil {
		t.Errorf("given: %v", found)
	}
}

func TestAPodOfTheNodesNetworkHasTheNodesAddress(t *testing.T) {
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "one"}}
	node.Status.Addresses = []v1.NodeAddress{
		{Type: v1.NodeHostName, Address: "one"},
		{Type: v1.NodeInternalIP, Address: "198.19.0.1"},
	}
	from := poolOf(t, node)
	if found, err := from.addresses("one", true); err != nil || !slices.Equal(found, []string{"198.19.0.1"}) {
		t.Errorf("%v, %v", found, err)
	}
	if found, err := from.addresses("nobody", true); err == nil {
		t.Errorf("given: %v", found)
	}
}
