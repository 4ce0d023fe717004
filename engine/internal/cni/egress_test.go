package cni

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
)

var (
	egressAttachment = attachment{ContainerID: "container", IfName: "eth0"}
	egressAddress    = &types100.IPConfig{
		Address: net.IPNet{IP: net.IPv4(10, 42, 0, 5).To4(), Mask: net.CIDRMask(16, 32)}, Gateway: net.IPv4(10, 42, 0, 1),
	}
)

// relay stands in for the real one, in another module: it notes the names that it is asked to look at, and answers.
func relay(t *testing.T, directory egress, answer string) <-chan string {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(string(directory), egressSocket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	asked := make(chan string, 10)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(connection).ReadString('\n')
			asked <- strings.TrimSpace(line)
			fmt.Fprintln(connection, answer)
			connection.Close()
		}
	}()
	return asked
}

func TestEgressIsToldOfPods(t *testing.T) {
	directory := egress(t.TempDir())
	asked := relay(t, directory, "ok")
	name := egressAttachment.hostLink()
	if err := directory.join(egressAttachment, egressAddress, "/run/netns/pod"); err != nil {
		t.Fatal(err)
	}
	if got := <-asked; got != name {
		t.Errorf("asked to look at %q", got)
	}
	content, err := os.ReadFile(directory.file(name))
	if err != nil {
		t.Fatal(err)
	}
	var written map[string]string
	if err := json.Unmarshal(content, &written); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"namespace": "/run/netns/pod", "link": "eth0", "address": "10.42.0.5", "gateway": "10.42.0.1",
	} {
		if written[key] != value {
			t.Errorf("%s is %q", key, written[key])
		}
	}
	if names, err := directory.names(); err != nil || !slices.Equal(names, []string{name}) {
		t.Errorf("names %v, %v", names, err)
	}
	// Twice: deleting what is gone is no error, and nothing to tell.
	for range 2 {
		if err := directory.leave(name); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-asked; got != name || len(asked) != 0 {
		t.Errorf("asked to look at %q and %d more", got, len(asked))
	}
}

func TestEgressFindsPodsLaterWhenTheRelayIsAway(t *testing.T) {
	directory := egress(t.TempDir())
	if err := directory.join(egressAttachment, egressAddress, "/run/netns/pod"); err != nil {
		t.Fatal(err)
	}
	// A socket that nobody listens on any more, as a killed relay leaves it.
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(string(directory), egressSocket), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	listener.Close()
	if err := directory.join(egressAttachment, egressAddress, "/run/netns/pod"); err != nil {
		t.Fatal(err)
	}
	if names, err := directory.names(); err != nil || len(names) != 1 {
		t.Fatalf("names %v, %v", names, err)
	}
}

func TestEgressThatFailsFailsThePod(t *testing.T) {
	directory := egress(t.TempDir())
	relay(t, directory, "error: no device")
	err := directory.join(egressAttachment, egressAddress, "/run/netns/pod")
	if err == nil || !strings.Contains(err.Error(), "no device") {
		t.Fatalf("error %v", err)
	}
}

func TestPodsWithoutEgress(t *testing.T) {
	if err := egress("").join(egressAttachment, egressAddress, "/run/netns/pod"); err != nil {
		t.Fatal(err)
	}
	if err := egress("").leave("name"); err != nil {
		t.Fatal(err)
	}
	if names, err := egress("").names(); err != nil || names != nil {
		t.Fatalf("names %v, %v", names, err)
	}
}
