package sharedpods

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kins/engine/internal/intercept/rules"
)

// configured is a node with one pod, whose sandbox is `pod`.
func configured(t *testing.T) *configuration {
	t.Helper()
	directory := t.TempDir()
	if err := os.WriteFile(filepath.Join(directory, "10.42.0.5"), []byte("pod\r\neth0"), 0o644); err != nil {
		t.Fatal(err)
	}
	lead := rules.Address{From: netip.MustParsePrefix("10.42.0.0/16"), To: netip.MustParsePrefix("127.42.0.0/16")}
	return &configuration{
		Addresses: directory, Node: netip.MustParseAddr("127.42.0.1"), Rules: []rules.Rule{{Address: &lead}},
	}
}

func TestRulesOfAPod(t *testing.T) {
	for sandbox, wanted := range map[string]string{
		"pod": `{"own":{"address":"127.42.0.5"}}`, "of the node's network": `{"source":{"address":"127.42.0.1"}}`,
	} {
		given := configured(t)
		own, err := given.addressOf(sandbox)
		if err != nil {
			t.Fatal(err)
		}
		descriptor, err := given.rulesFor(own)
		if err != nil {
			t.Fatal(err)
		}
		file := os.NewFile(uintptr(descriptor), "rules")
		defer file.Close()
		content := make([]byte, 4096)
		count, _ := file.ReadAt(content, 0)
		content = content[:count]
		if !strings.HasSuffix(string(content), wanted+"]}") {
			t.Errorf("%s: %s", sandbox, content)
		}
		if _, err := rules.Parse(content); err != nil {
			t.Errorf("%s: %v", sandbox, err)
		}
	}
}

const bundle = `{"ociVersion": "1.2.0", "process": {"args": ["true"], "env": ["A=b"]},
	"annotations": {"io.kubernetes.cri.sandbox-id": "SANDBOX"},
	"linux": {"resources": {"memory": {"limit": 9223372036854775807}},
		"namespaces": [{"type": "pid"}, {"type": "network", "path": "/run/netns/x"}]}}`

func TestBundleOfAPod(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte(strings.Replace(bundle, "SANDBOX", "pod", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := configured(t).prepare(file); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var found struct {
		Process struct{ Env []string }
		Linux   struct {
			Namespaces []struct{ Type string }
			Resources  struct{ Memory struct{ Limit int64 } }
		}
	}
	if err := json.Unmarshal(content, &found); err != nil {
		t.Fatal(err)
	}
	if len(found.Linux.Namespaces) != 1 || found.Linux.Namespaces[0].Type != "pid" {
		t.Errorf("namespaces: %v", found.Linux.Namespaces)
	}
	if !slices.Equal(found.Process.Env, []string{"A=b", "KINS_POD_ADDRESS=127.42.0.5"}) {
		t.Errorf("environment: %v", found.Process.Env)
	}
	if found.Linux.Resources.Memory.Limit != 9223372036854775807 {
		t.Errorf("limit: %d", found.Linux.Resources.Memory.Limit)
	}
}

func TestBundleInTheNodesNetworkStays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte(bundle), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := configured(t).prepare(file); err != nil {
		t.Fatal(err)
	}
	if content, _ := os.ReadFile(file); string(content) != bundle {
		t.Errorf("changed to %s", content)
	}
}
