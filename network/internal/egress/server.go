package egress

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	// socketName is the socket's file, beside the pods' ones.
	socketName = "egress.sock"
	// suffix is that of a pod's file.
	suffix = ".json"
	// askSeconds is how long a client may take for its line.
	askSeconds = 5 * time.Second
)

// pod is the content of a pod's file, which the CNI plugin writes: NAME.json, where NAME is what a request says.
type pod struct {
	// Namespace is the file of its network namespace.
	Namespace string `json:"namespace"`
	// Link is the pod's link to the node, Address its IPv4 address there, Gateway the node's.
	Link    string     `json:"link"`
	Address netip.Addr `json:"address"`
	Gateway netip.Addr `json:"gateway"`
}

// server keeps one relay for each file in its directory. A request is a pod's name in a line: look at its file again,
// which is new or gone. The answer is "ok", or "error: " and why, in a line.
type server struct {
	directory string
	direct    []netip.Prefix
	outside   dial
	listener  net.Listener

	mutex sync.Mutex
	pods  map[string]*relay
}

func listen(directory string, direct []netip.Prefix, outside dial) (*server, error) {
	path := filepath.Join(directory, socketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	return &server{
		directory: directory, direct: direct, outside: outside, listener: listener, pods: map[string]*relay{},
	}, nil
}

func (s *server) serve() {
	for {
		connection, err := s.listener.Accept()
		if err != nil {
			return
		}
		go s.answer(connection)
	}
}

func (s *server) answer(connection net.Conn) {
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(askSeconds))
	line, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		return
	}
	said := "ok"
	if err := s.look(strings.TrimSuffix(line, "\n")); err != nil {
		said = "error: " + err.Error()
	}
	fmt.Fprintln(connection, said)
}

func (s *server) attachAll() {
	files, err := filepath.Glob(filepath.Join(s.directory, "*"+suffix))
	if err != nil {
		return
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), suffix)
		if err := s.look(name); err != nil {
			log.Printf("pod %s: %v", name, err)
		}
	}
}

// look makes what is there the same as what the pod's file says.
func (s *server) look(name string) error {
	if name != filepath.Base(name) {
		return fmt.Errorf("%q is no name", name)
	}
	content, err := os.ReadFile(filepath.Join(s.directory, name+suffix))
	s.mutex.Lock()
	defer s.mutex.Unlock()
	running := s.pods[name]
	if errors.Is(err, fs.ErrNotExist) {
		if running != nil {
			delete(s.pods, name)
			running.close()
		}
		return nil
	}
	if err != nil || running != nil {
		return err
	}
	var wanted pod
	if err := json.Unmarshal(content, &wanted); err != nil {
		return err
	}
	started, err := attach(wanted, s.direct, s.outside)
	if err == nil {
		s.pods[name] = started
	}
	return err
}

func attach(wanted pod, direct []netip.Prefix, outside dial) (*relay, error) {
	device, err := openDevice(wanted, direct)
	if err != nil {
		return nil, err
	}
	started, err := newRelay(device, outside)
	if err != nil {
		device.Close()
	}
	return started, err
}
