package cni

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	types100 "github.com/containernetworking/cni/pkg/types/100"
)

const (
	// egressSocket is where the relay of the pods' way out listens, in the directory of their files.
	egressSocket = "egress.sock"
	// egressPatience is how long the relay may take for one pod.
	egressPatience = 10 * time.Second
)

// egress is the directory where the relay of the pods' way out finds a file for each pod, or "" without a relay. What
// is written there counts also when the relay is away: it reads all files when it starts.
type egress string

// egressPod is what the relay needs to know of a pod (network/internal/egress).
type egressPod struct {
	Namespace string `json:"namespace"`
	Link      string `json:"link"`
	Address   net.IP `json:"address"`
	Gateway   net.IP `json:"gateway"`
}

// join gives a pod its way out.
func (e egress) join(attachment attachment, address *types100.IPConfig, namespace string) error {
	if e == "" {
		return nil
	}
	content, err := json.Marshal(egressPod{namespace, attachment.IfName, address.Address.IP, address.Gateway})
	if err != nil {
		return err
	}
	// Renamed, so that the relay never reads half of it.
	name := attachment.hostLink()
	temporary := e.file(name) + ".new"
	if err := os.WriteFile(temporary, content, 0o600); err != nil {
		return fmt.Errorf("cannot tell the relay of the way out: %w", err)
	}
	if err := os.Rename(temporary, e.file(name)); err != nil {
		return err
	}
	return e.tell(name)
}

// leave ends it. What is gone is no error.
func (e egress) leave(name string) error {
	if e == "" {
		return nil
	}
	if err := os.Remove(e.file(name)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return e.tell(name)
}

// names lists the pods that have one, by their links on the node.
func (e egress) names() ([]string, error) {
	if e == "" {
		return nil, nil
	}
	files, err := filepath.Glob(e.file("*"))
	for i, file := range files {
		files[i] = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	}
	return files, err
}

func (e egress) file(name string) string {
	return filepath.Join(string(e), name+".json")
}

// tell has the relay look at a pod's file now.
func (e egress) tell(name string) error {
	connection, err := net.DialTimeout("unix", filepath.Join(string(e), egressSocket), egressPatience)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot reach the relay of the way out: %w", err)
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(egressPatience))
	if _, err := fmt.Fprintln(connection, name); err != nil {
		return fmt.Errorf("cannot ask the relay of the way out: %w", err)
	}
	answer, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		return fmt.Errorf("the relay of the way out says nothing: %w", err)
	}
	if answer = strings.TrimSpace(answer); answer != "ok" {
		return fmt.Errorf("the relay of the way out: %s", answer)
	}
	return nil
}
