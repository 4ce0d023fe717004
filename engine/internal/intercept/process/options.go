//go:build linux && amd64

package process

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"kins/engine/internal/intercept/rules"
)

// Backends, as --backend names them.
const (
	Automatic = "auto"
	Ptrace    = "ptrace"
	Notify    = "notify"
)

// Options is the command line.
type Options struct {
	Backend    string
	Rules      string
	Statistics string
	Command    []string
}

// Usage is what the command line may be.
const Usage = `usage: kins-intercept [--backend auto|ptrace|notify] --rules FILE.json [--statistics FILE] -- COMMAND [ARGUMENT...]
       kins-intercept probe`

// ParseOptions reads the arguments after the program's name.
func ParseOptions(arguments []string) (Options, error) {
	options := Options{Backend: Automatic}
	places := map[string]*string{
		"--backend": &options.Backend, "--rules": &options.Rules, "--statistics": &options.Statistics,
	}
	for len(arguments) > 0 && arguments[0] != "--" {
		place, ok := places[arguments[0]]
		if !ok || len(arguments) < 2 {
			return Options{}, fmt.Errorf("not understood: %s", arguments[0])
		}
		*place, arguments = arguments[1], arguments[2:]
	}
	switch {
	case len(arguments) < 2:
		return Options{}, fmt.Errorf("there is no command after --")
	case options.Rules == "":
		return Options{}, fmt.Errorf("--rules is missing")
	case options.Backend != Automatic && options.Backend != Ptrace && options.Backend != Notify:
		return Options{}, fmt.Errorf("no such backend: %s", options.Backend)
	}
	options.Command = arguments[1:]
	return options, nil
}

// arguments is the inverse of ParseOptions.
func (options Options) arguments() []string {
	list := []string{"--backend", options.Backend, "--rules", options.Rules}
	if options.Statistics != "" {
		list = append(list, "--statistics", options.Statistics)
	}
	return append(append(list, "--"), options.Command...)
}

// hold reads the rules, refuses what only the tracer would find out otherwise, and keeps them in memory for it: their
// file may be a pipe, which gives them only once.
func (options *Options) hold() error {
	content, err := os.ReadFile(options.Rules)
	if err != nil {
		return err
	}
	set, err := rules.Parse(content)
	if err != nil {
		return fmt.Errorf("%s: %w", options.Rules, err)
	}
	if options.Backend == Notify && set.Addresses.Any() {
		// Nobody can bind or connect a socket in another's place.
		return fmt.Errorf("%s: the backend notify knows no rules about addresses", options.Rules)
	}
	if options.Backend == Notify && set.OneID != rules.NoRule {
		return fmt.Errorf("%s: the backend notify knows no rule about ids", options.Rules)
	}
	keepFromProgram(options.Rules)
	descriptor, err := unix.MemfdCreate("kins-intercept-rules", 0)
	if err != nil {
		return fmt.Errorf("memfd_create: %w", err)
	}
	if _, err := unix.Write(descriptor, content); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	options.Rules = fmt.Sprintf("/proc/self/fd/%d", descriptor)
	return nil
}
