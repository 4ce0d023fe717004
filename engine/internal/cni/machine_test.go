package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"
)

// waitLimit ends a test that would otherwise wait for ever; it is no measure.
const waitLimit = 20 * time.Second

// TestMain makes the test's own program the plugin, when it is called as one: each command of a test is a process of
// its own, as with a runtime.
func TestMain(m *testing.M) {
	if os.Getenv("CNI_COMMAND") != "" {
		Main()
		return
	}
	os.Exit(m.Run())
}

// machine is a node in a network namespace of the test's own.
type machine struct {
	*testing.T
	node          ns.NetNS
	configuration map[string]any
	data          string
}

// pod is a network namespace that a runtime made, and what it knows of it.
type pod struct {
	ns.NetNS
	attachment
	path string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: making network namespaces needs CAP_SYS_ADMIN")
	}
	m := &machine{T: t, data: filepath.Join(t.TempDir(), "addresses")}
	m.node = m.namespace()
	m.configuration = map[string]any{
		"cniVersion": "1.0.0",
		"name":       "kins",
		"type":       "kins-cni",
		"bridge":     "kins0",
		"subnet":     "10.42.0.0/16",
		"gateway":    "10.42.0.1",
		"dataDir":    m.data,
	}
	return m
}

// namespace makes an empty network namespace with nothing up in it.
func (m *machine) namespace() ns.NetNS {
	m.Helper()
	made, err := ns.TempNetNS()
	if err != nil {
		m.Fatal(err)
	}
	// A test may close it earlier, to let it vanish.
	m.Cleanup(func() { _ = made.Close() })
	return made
}

func (m *machine) pod(name string) *pod {
	m.Helper()
	made := m.namespace()
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), made.Fd())
	return &pod{NetNS: made, attachment: attachment{ContainerID: name, IfName: "eth0"}, path: path}
}

// command is the plugin as a process in the node's network namespace, not started yet.
func (m *machine) command(verb string, pod *pod) *exec.Cmd {
	m.Helper()
	text, err := json.Marshal(m.configuration)
	if err != nil {
		m.Fatal(err)
	}
	command := exec.Command("/proc/self/exe")
	command.Stdin = bytes.NewReader(text)
	command.Env = []string{"CNI_COMMAND=" + verb, "CNI_PATH=/nowhere"}
	if pod != nil {
		command.Env = append(command.Env, "CNI_CONTAINERID="+pod.ContainerID, "CNI_IFNAME="+pod.IfName, "CNI_NETNS="+pod.path)
	}
	return command
}

// start starts a process in the node's network namespace: it inherits that of the thread that starts it.
func (m *machine) start(command *exec.Cmd) error {
	return m.node.Do(func(ns.NetNS) error { return command.Start() })
}

// call gives what the plugin prints, and the error that it reports as the specification wants it.
func (m *machine) call(verb string, pod *pod) ([]byte, *types.Error) {
	m.Helper()
	var output, talk bytes.Buffer
	command := m.command(verb, pod)
	command.Stdout, command.Stderr = &output, &talk
	err := m.start(command)
	if err == nil {
		err = command.Wait()
	}
	if talk.Len() > 0 {
		m.Errorf("%s wrote to its error output: %s", verb, talk.String())
	}
	exit := &exec.ExitError{}
	if errors.As(err, &exit) {
		failure := &types.Error{}
		if err := json.Unmarshal(output.Bytes(), failure); err != nil || failure.Msg == "" {
			m.Errorf("%s failed (%v) and printed no error: %s", verb, exit, output.String())
		}
		return nil, failure
	}
	if err != nil {
		m.Error(err)
	}
	return output.Bytes(), nil
}

// must is call for what may not fail. It may be called by several goroutines.
func (m *machine) must(verb string, pod *pod) []byte {
	m.Helper()
	output, failure := m.call(verb, pod)
	if failure != nil {
		m.Errorf("%s: %v", verb, failure)
	}
	return output
}

func (m *machine) add(pod *pod) *types100.Result {
	m.Helper()
	result := &types100.Result{}
	if err := json.Unmarshal(m.must("ADD", pod), result); err != nil || len(result.IPs) != 1 {
		m.Errorf("ADD printed no result with one address: %v", err)
		return &types100.Result{IPs: []*types100.IPConfig{{}}}
	}
	return result
}

func address(result *types100.Result) string {
	return result.IPs[0].Address.IP.String()
}

// refused is call for what must fail.
func (m *machine) refused(verb string, pod *pod) *types.Error {
	m.Helper()
	output, failure := m.call(verb, pod)
	if failure == nil {
		m.Fatalf("%s succeeded: %s", verb, output)
	}
	return failure
}

// inside runs what must succeed in a namespace.
func (m *machine) inside(namespace ns.NetNS, action func() error) {
	m.Helper()
	if err := namespace.Do(func(ns.NetNS) error { return action() }); err != nil {
		m.Error(err)
	}
}

// links are the links of a namespace, each with its addresses.
func (m *machine) links(namespace ns.NetNS) map[string]string {
	m.Helper()
	found := map[string]string{}
	m.inside(namespace, func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, link := range links {
			addresses, err := netlink.AddrList(link, netlink.FAMILY_V4)
			if err != nil {
				return err
			}
			found[link.Attrs().Name] = fmt.Sprint(addresses)
		}
		return nil
	})
	return found
}

// hardware is a link's hardware address.
func (m *machine) hardware(namespace ns.NetNS, name string) (hardware string) {
	m.Helper()
	m.inside(namespace, func() error {
		found, err := link(name)
		if err == nil {
			hardware = found.Attrs().HardwareAddr.String()
		}
		return err
	})
	return hardware
}

// taken are the addresses on disk and who has them.
func (m *machine) taken() map[string]string {
	m.Helper()
	found := map[string]string{}
	files, err := os.ReadDir(filepath.Join(m.data, "kins"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		m.Fatal(err)
	}
	for _, file := range files {
		if net.ParseIP(file.Name()) == nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join(m.data, "kins", file.Name()))
		if err != nil {
			m.Fatal(err)
		}
		found[file.Name()] = string(text)
	}
	return found
}

// state is all that an ADD may leave: the links on the node and in the pod, and the addresses.
func (m *machine) state(pod *pod) []map[string]string {
	m.Helper()
	inPod := m.links(pod)
	// It is in each namespace, and gets its address by being up, which nobody takes back.
	delete(inPod, "lo")
	return []map[string]string{m.links(m.node), inPod, m.taken()}
}

func (m *machine) same(what string, got, wanted []map[string]string) {
	m.Helper()
	if !slices.EqualFunc(got, wanted, maps.Equal) {
		m.Errorf("%s: links on the node, links in the pod, addresses\n%v\nand not\n%v", what, got, wanted)
	}
}

// connects carries a few bytes by TCP from one namespace to an address of another one, and back.
func (m *machine) connects(from, to ns.NetNS, address string) {
	m.Helper()
	var listener net.Listener
	m.inside(to, func() (err error) {
		listener, err = net.Listen("tcp4", net.JoinHostPort(address, "0"))
		return err
	})
	if listener == nil {
		return
	}
	defer listener.Close()
	go echo(listener)
	m.inside(from, func() error {
		connection, err := net.DialTimeout("tcp4", listener.Addr().String(), waitLimit)
		if err != nil {
			return err
		}
		defer connection.Close()
		connection.SetDeadline(time.Now().Add(waitLimit))
		if _, err := connection.Write([]byte("ping")); err != nil {
			return err
		}
		answer := make([]byte, 4)
		_, err = connection.Read(answer)
		if err == nil && string(answer) != "ping" {
			err = fmt.Errorf("%s answered %q", address, answer)
		}
		return err
	})
}

// echo gives one connection its first bytes back.
func echo(listener net.Listener) {
	connection, err := listener.Accept()
	if err != nil {
		return
	}
	defer connection.Close()
	buffer := make([]byte, 4)
	if _, err := connection.Read(buffer); err == nil {
		connection.Write(buffer)
	}
}
