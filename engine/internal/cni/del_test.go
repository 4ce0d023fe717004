package cni

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// What a runtime may have lost between ADD and DEL.
func TestDelFreesWhatIsLeft(t *testing.T) {
	onNode := func(name func(*pod) string) func(*machine, *pod) {
		return func(m *machine, pod *pod) { m.inside(m.node, func() error { return removeLink(name(pod)) }) }
	}
	cases := map[string]func(*machine, *pod){
		"all is there":               func(*machine, *pod) {},
		"the namespace is not named": func(_ *machine, pod *pod) { pod.path = "" },
		"the namespace is gone":      func(_ *machine, pod *pod) { pod.Close() },
		"the namespace is empty": func(m *machine, pod *pod) {
			m.inside(pod, func() error { return removeLink("eth0") })
		},
		"the namespace is another one":             func(m *machine, pod *pod) { pod.path = m.pod("third").path },
		"the link on the node is gone":             onNode(func(pod *pod) string { return pod.hostLink() }),
		"the bridge is gone":                       onNode(func(*pod) string { return "kins0" }),
		"the addresses are gone":                   func(m *machine, _ *pod) { m.removeAll(m.data) },
		"the address was freed":                    func(m *machine, _ *pod) { m.removeAll(m.data + "/kins/10.42.0.2") },
		"a killed ADD left a file":                 func(m *machine, _ *pod) { m.write("10.42.0.2", "") },
		"it was deleted":                           func(m *machine, pod *pod) { m.must("DEL", pod) },
		"it was deleted and its namespace is gone": func(m *machine, pod *pod) { m.must("DEL", pod); pod.Close() },
	}
	for name, lose := range cases {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			before := m.links(m.node)
			m.configuration["subnet"] = "10.42.0.0/30"
			pod := m.pod("first")
			if given := address(m.add(pod)); given != "10.42.0.2" {
				t.Fatalf("the pod has %s", given)
			}
			lose(m, pod)
			m.must("DEL", pod)
			m.must("DEL", pod)
			after := m.links(m.node)
			delete(after, "kins0")
			if !maps.Equal(after, before) || len(m.taken()) > 0 {
				t.Errorf("links %v, addresses %v", after, m.taken())
			}
			// The one address of the range can be had again.
			next := m.pod("next")
			m.connects(m.node, next, address(m.add(next)))
		})
	}
}

// write writes a file of the store.
func (m *machine) write(name, text string) {
	m.Helper()
	if err := os.WriteFile(filepath.Join(m.data, "kins", name), []byte(text), 0o600); err != nil {
		m.Error(err)
	}
}

func (m *machine) removeAll(path string) {
	m.Helper()
	if err := os.RemoveAll(path); err != nil {
		m.Error(err)
	}
}

func TestDelTouchesNoOtherPod(t *testing.T) {
	m := newMachine(t)
	first, second := m.pod("first"), m.pod("second")
	m.add(first)
	kept := address(m.add(second))
	before := m.state(second)
	// The namespace named is that of the other pod, and the container's name is the begin of the other's.
	stranger := &pod{NetNS: second, attachment: attachment{ContainerID: "sec", IfName: "eth0"}, path: second.path}
	m.must("DEL", stranger)
	m.same("after the DEL of a stranger", m.state(second), before)
	m.must("DEL", first)
	m.connects(m.node, second, kept)
}

func TestDelOfWhatNeverWasMakesNothing(t *testing.T) {
	m := newMachine(t)
	before := m.links(m.node)
	m.must("DEL", m.pod("first"))
	if after := m.links(m.node); !maps.Equal(after, before) {
		t.Errorf("links: %v", after)
	}
	if _, err := os.Stat(m.data); !os.IsNotExist(err) {
		t.Errorf("dataDir was made: %v", err)
	}
}

func TestDelFailsWhileTheAddressCannotBeFreed(t *testing.T) {
	m := newMachine(t)
	pod := m.pod("first")
	m.add(pod)
	// Root is refused nothing but what the file system cannot do.
	m.removeAll(m.data)
	if err := os.WriteFile(m.data, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m.refused("DEL", pod)
	m.removeAll(m.data)
	m.must("DEL", pod)
}
