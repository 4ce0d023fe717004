package sharedpods

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

const (
	// sandboxAnnotation is containerd's name for a container's pod (internal/cri/annotations).
	sandboxAnnotation = "io.kubernetes.cri.sandbox-id"
	// addressVariable tells programs that ask for it which loopback address is their pod's.
	addressVariable = "KINS_POD_ADDRESS"
)

// object is a part of a container's configuration (OCI runtime specification), of which only little is known here.
type object = map[string]any

// prepare takes the network namespace out of a container's configuration, and tells its program the pod's address.
func (c *configuration) prepare(file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var container object
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber() // limits are larger than what a float64 holds exactly
	if err := decoder.Decode(&container); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	annotations, _ := container["annotations"].(object)
	sandbox, _ := annotations[sandboxAnnotation].(string)
	own, err := c.addressOf(sandbox)
	if err != nil || !own.IsValid() {
		return err // a pod in the node's network has no namespace to take out
	}
	if process, is := container["process"].(object); is {
		environment, _ := process["env"].([]any)
		process["env"] = append(environment, addressVariable+"="+own.String())
	}
	withoutNetwork(container)
	if content, err = json.Marshal(container); err != nil {
		return err
	}
	return replace(file, content)
}

func withoutNetwork(container object) {
	linux, _ := container["linux"].(object)
	namespaces, _ := linux["namespaces"].([]any)
	if linux != nil {
		linux["namespaces"] = slices.DeleteFunc(namespaces, func(each any) bool {
			namespace, _ := each.(object)
			return namespace["type"] == "network"
		})
	}
}

// replace never leaves half a file.
func replace(file string, content []byte) error {
	temporary := file + ".new"
	if err := os.WriteFile(temporary, content, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, file)
}
