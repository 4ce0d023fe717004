package cni

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
)

const valid = `{"cniVersion": "1.0.0", "name": "kins", "type": "kins-cni", "bridge": "kins0",
	"subnet": "10.42.0.0/16", "gateway": "10.42.0.1", "dataDir": "/var/lib/kins"}`

func parseNetwork(m *machine, text string) *net.IPNet {
	m.Helper()
	address, network, err := net.ParseCIDR(text)
	if err != nil {
		m.Fatal(err)
	}
	network.IP = address.To4()
	return network
}

func TestConfigurationIsRead(t *testing.T) {
	read, err := readConfiguration([]byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	if read.gateway().String() != "10.42.0.1/16" || read.ranges.String() != "10.42.0.1-10.42.255.254" {
		t.Errorf("gateway %s, range %s", read.gateway(), read.ranges.String())
	}
}

func TestConfigurationErrorsNameTheKey(t *testing.T) {
	cases := []struct{ from, to, key string }{
		{`"kins0"`, `""`, "bridge"},
		{`"kins0"`, `"a-name-of-16-byte"`, "bridge"},
		{`"kins0"`, `"a/b"`, "bridge"},
		{`"10.42.0.0/16"`, `""`, "subnet"},
		{`"10.42.0.0/16"`, `"10.42.0.0"`, "subnet"},
		{`"10.42.0.0/16"`, `"10.42.0.0/31"`, "subnet"},
		{`"10.42.0.0/16"`, `"fd00::/64"`, "subnet"},
		{`"10.42.0.0/16"`, `"10.42.3.0/16"`, "subnet"},
		{`"10.42.0.1"`, `""`, "gateway"},
		{`"10.42.0.1"`, `"fd00::1"`, "gateway"},
		{`"10.42.0.1"`, `"10.43.0.1"`, "gateway"},
		{`"10.42.0.1"`, `"10.42.0.0"`, "gateway"},
		{`"10.42.0.1"`, `"10.42.255.255"`, "gateway"},
		{`"/var/lib/kins"`, `""`, "dataDir"},
		{`"/var/lib/kins"`, `"lib/kins"`, "dataDir"},
	}
	for _, one := range cases {
		t.Run(one.key+"="+one.to, func(t *testing.T) {
			text := strings.Replace(valid, one.from, one.to, 1)
			_, err := readConfiguration([]byte(text))
			failure := &types.Error{}
			if !errors.As(err, &failure) || failure.Code != types.ErrInvalidNetworkConfig {
				t.Fatalf("error: %v", err)
			}
			if !strings.HasPrefix(failure.Msg, "invalid "+one.key+" ") || failure.Details == "" {
				t.Errorf("error: %v", failure)
			}
		})
	}
}

func TestUnreadableConfigurationIsRefused(t *testing.T) {
	for _, text := range []string{"", "[]", `{"subnet": 10}`} {
		_, err := readConfiguration([]byte(text))
		failure := &types.Error{}
		if !errors.As(err, &failure) || failure.Code != types.ErrDecodingFailure {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestVersionsAreTold(t *testing.T) {
	command := exec.Command("/proc/self/exe")
	command.Env = []string{"CNI_COMMAND=VERSION", "CNI_PATH=/nowhere"}
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	told, err := (&version.PluginDecoder{}).Decode(output)
	if err != nil || strings.Join(told.SupportedVersions(), " ") != "1.0.0 1.1.0" {
		t.Errorf("%s, %v", output, err)
	}
}

func TestLinkNamesFollowFromTheAttachment(t *testing.T) {
	first := attachment{ContainerID: "a", IfName: "eth0"}
	names := map[string]bool{}
	for _, one := range []attachment{first, {"a", "eth1"}, {"b", "eth0"}, {"ae", "th0"}} {
		for _, name := range []string{one.hostLink(), one.podLink()} {
			if len(name) > 15 || names[name] {
				t.Errorf("%s is too long or has been there", name)
			}
			names[name] = true
		}
		if !isHostLink(one.hostLink()) || isHostLink(one.podLink()) {
			t.Errorf("%s is not told from %s", one.hostLink(), one.podLink())
		}
	}
	// DEL of a new version must find the links of an old one.
	if name := first.hostLink(); name != "kins263a9a147be" {
		t.Errorf("it is %s", name)
	}
	if isHostLink("kins0") {
		t.Error("the bridge counts as a pod's link")
	}
}

// The configuration that Python writes, in src/kins/network/cni.py.
func TestConfigurationOfTheClusterIsRead(t *testing.T) {
	program := `import json, pathlib; from kins.network import cni
print(json.dumps(cni.configuration(pathlib.Path("/data"))))`
	command := exec.Command("python3", "-c", program)
	command.Env = append(os.Environ(), "PYTHONPATH=../../../src", "PYTHONDONTWRITEBYTECODE=1")
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	list := types.NetConfList{}
	var plugins struct{ Plugins []json.RawMessage }
	err = errors.Join(json.Unmarshal(output, &list), json.Unmarshal(output, &plugins))
	if err != nil || len(plugins.Plugins) != 1 {
		t.Fatalf("%v: %s", err, output)
	}
	read, err := readConfiguration(plugins.Plugins[0])
	if err != nil || read.Type != "kins-cni" || list.CNIVersion != "1.0.0" {
		t.Errorf("%v: %s", err, output)
	}
}
