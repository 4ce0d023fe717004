// Package kubelet is upstream's kubelet with an own source of node and pod statistics, and if asked for with an own
// container manager; and a plugin that tells upstream's source of statistics, cAdvisor, of sandboxes' file systems.
//
// cAdvisor drops the root control group's sample where cpuacct.usage_percpu is missing, and the kubelet then never
// becomes ready ("failed to get rootfs info: unable to find data in memory cache"). Everything else of the kubelet is
// upstream's, which takes both as dependencies.
package kubelet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericapiserver "k8s.io/apiserver/pkg/server"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/component-base/version/verflag"
	"k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	"k8s.io/kubernetes/pkg/kubelet/apis/config/validation"
	"k8s.io/kubernetes/pkg/kubelet/eviction"
	"k8s.io/kubernetes/pkg/kubelet/kubeletconfig/configfiles"
	filesystem "k8s.io/kubernetes/pkg/util/filesystem"

	"kins/engine/internal/forwarding"
)

// awaitFlag takes the path of the container runtime's socket.
const awaitFlag = "--await"

// forwardFlag takes the path of a socket to make.
const forwardFlag = "--forward-ports"

// How long the runtime may take, and how often it is tried: a socket has no event for "somebody listens".
const (
	runtimePatience = time.Minute
	runtimeTurn     = 10 * time.Millisecond
)

// disableFlag takes a strength as its value; without one, statisticsOnly.
const disableFlag = "--disable-cadvisor"

// What of upstream's is replaced: the source of statistics, or the container manager with it.
const (
	statisticsOnly = "statistics"
	all            = "all"
)

// NewCommand is upstream's command, or, with --disable-cadvisor among its arguments, one that differs from it in the
// source of statistics (--disable-cadvisor=statistics) or in the container manager too (--disable-cadvisor=all). With
// --await=SOCKET it starts when somebody listens there, so that kubelet and runtime can be started together. With
// --forward-ports=SOCKET besides, it speaks to that runtime through a proxy at this other socket (package forwarding).
func NewCommand(ctx context.Context) *cobra.Command {
	command := app.NewKubeletCommand(ctx)
	upstream := command.RunE
	command.RunE = func(command *cobra.Command, arguments []string) error {
		ours, rest := take(arguments)
		if ours.runtime != "" {
			awaitListener(ctx, ours.runtime, runtimePatience)
		}
		if ours.forwarding != "" {
			if err := forwarding.Serve(ours.forwarding, ours.runtime); err != nil {
				return fmt.Errorf("cannot forward ports: %w", err)
			}
			rest = append(rest, "--container-runtime-endpoint=unix://"+ours.forwarding)
		}
		switch ours.strength {
		case "":
			return upstream(command, rest)
		case statisticsOnly, all:
			return run(ctx, rest, ours.strength)
		}
		return fmt.Errorf("%s=%s: it is %s or %s", disableFlag, ours.strength, statisticsOnly, all)
	}
	return command
}

// ownFlags are those that upstream does not know; what was not given is empty.
type ownFlags struct {
	strength   string
	runtime    string
	forwarding string
}

// take separates our own flags from upstream's arguments.
func take(arguments []string) (ownFlags, []string) {
	ours, rest := ownFlags{}, []string{}
	for _, each := range arguments {
		name, value, hasValue := strings.Cut(each, "=")
		switch {
		case name == awaitFlag:
			ours.runtime = value
		case name == forwardFlag:
			ours.forwarding = value
		case name != disableFlag:
			rest = append(rest, each)
		case hasValue:
			ours.strength = value
		default:
			ours.strength = statisticsOnly
		}
	}
	return ours, rest
}

// awaitListener returns when somebody listens on a unix socket. Upstream tries the runtime once at its start and ends if
// nobody is there (pkg/remote_runtime.go in k8s.io/cri-client); so does it after `patience`, with its own message.
func awaitListener(ctx context.Context, path string, patience time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	turn := time.NewTicker(runtimeTurn)
	defer turn.Stop()
	for {
		if connection, err := (&net.Dialer{}).DialContext(ctx, "unix", path); err == nil {
			_ = connection.Close()
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-turn.C:
		}
	}
}

// run does what upstream's RunE does (cmd/kubelet/app/server.go), which has no place to inject a dependency.
func run(ctx context.Context, arguments []string, strength string) error {
	server, err := parse(ctx, arguments)
	if err != nil {
		return err
	}
	logs.InitLogs()
	if err := logsapi.ValidateAndApplyAsField(
		&server.Logging, utilfeature.DefaultFeatureGate, field.NewPath("logging"),
	); err != nil {
		return fmt.Errorf("initialize logging: %w", err)
	}
	if err := validation.ValidateKubeletConfiguration(
		&server.KubeletConfiguration, utilfeature.DefaultFeatureGate,
	); err != nil {
		return fmt.Errorf("failed to validate kubelet configuration: %w", err)
	}
	dependencies, err := app.UnsecuredDependencies(ctx, server, utilfeature.DefaultFeatureGate)
	if err != nil {
		return fmt.Errorf("failed to construct kubelet dependencies: %w", err)
	}
	dependencies.CAdvisorInterface = newStatistics(server, dependencies)
	if strength == all {
		if dependencies.ContainerManager, err = newContainerManager(ctx, server, dependencies); err != nil {
			return err
		}
	}
	utilfeature.DefaultMutableFeatureGate.AddMetrics()
	return app.Run(genericapiserver.SetupSignalContext(), server, dependencies, utilfeature.DefaultFeatureGate)
}

// parse reads flags and the configuration file; a flag wins over the file, as upstream has it.
func parse(ctx context.Context, arguments []string) (*options.KubeletServer, error) {
	configuration, err := options.NewKubeletConfiguration()
	if err != nil {
		return nil, err
	}
	flags := options.NewKubeletFlags()
	set := flagSet(flags, configuration)
	options.AddGlobalFlags(set)
	if err := set.Parse(arguments); err != nil {
		return nil, fmt.Errorf("failed to parse kubelet flag: %w", err)
	}
	if set.NArg() > 0 {
		return nil, fmt.Errorf("unknown command %q", set.Arg(0))
	}
	verflag.PrintAndExitIfRequested()
	if err := options.ValidateKubeletFlags(flags); err != nil {
		return nil, fmt.Errorf("failed to validate kubelet flags: %w", err)
	}
	if flags.KubeletDropinConfigDirectory != "" {
		return nil, errors.New("--config-dir cannot be used together with " + disableFlag)
	}
	if flags.KubeletConfigFile != "" {
		if configuration, err = load(ctx, flags.KubeletConfigFile, arguments); err != nil {
			return nil, fmt.Errorf("failed to load kubelet config file %s: %w", flags.KubeletConfigFile, err)
		}
	}
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(configuration.FeatureGates); err != nil {
		return nil, fmt.Errorf("failed to set feature gates: %w", err)
	}
	return &options.KubeletServer{KubeletFlags: *flags, KubeletConfiguration: *configuration}, nil
}

// load reads the configuration file and lets the flags among the arguments win.
func load(ctx context.Context, name string, arguments []string) (*kubeletconfig.KubeletConfiguration, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	loader, err := configfiles.NewFsLoader(&filesystem.DefaultFs{}, path)
	if err != nil {
		return nil, err
	}
	configuration, err := loader.Load(ctx)
	if err != nil {
		return nil, err
	}
	addEvictionDefaults(configuration)
	inFile := configuration.FeatureGates
	again := flagSet(options.NewKubeletFlags(), configuration)
	ignoreGlobalFlags(again)
	if err := again.Parse(arguments); err != nil {
		return nil, err
	}
	for gate, enabled := range inFile {
		if _, set := configuration.FeatureGates[gate]; !set {
			configuration.FeatureGates[gate] = enabled
		}
	}
	return configuration, nil
}

// addEvictionDefaults fills in what depends on the operating system and is therefore no default of the file's format.
func addEvictionDefaults(configuration *kubeletconfig.KubeletConfiguration) {
	if configuration.EvictionHard == nil {
		configuration.EvictionHard = eviction.DefaultEvictionHard
		return
	}
	if !configuration.MergeDefaultEvictionSettings {
		return
	}
	for signal, threshold := range eviction.DefaultEvictionHard {
		if _, set := configuration.EvictionHard[signal]; !set {
			configuration.EvictionHard[signal] = threshold
		}
	}
}

func flagSet(flags *options.KubeletFlags, configuration *kubeletconfig.KubeletConfiguration) *pflag.FlagSet {
	set := pflag.NewFlagSet("kubelet", pflag.ContinueOnError)
	set.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	flags.AddFlags(set)
	options.AddKubeletConfigFlags(set, configuration)
	set.Usage = func() {}
	return set
}

// ignoreGlobalFlags accepts the process's own flags a second time without setting them: some would accumulate.
func ignoreGlobalFlags(set *pflag.FlagSet) {
	global := pflag.NewFlagSet("", pflag.ContinueOnError)
	global.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	options.AddGlobalFlags(global)
	global.VisitAll(func(each *pflag.Flag) { set.VarP(cliflag.NoOp{}, each.Name, each.Shorthand, each.Usage) })
}
