// Command kins-engine holds upstream's programs, unmodified, in one binary: the applet's name is the first argument, or
// the name under which the binary was called. Each runs as a process of its own; in one process upstream's commands
// collide (one signal handler, one set of feature gates, one registry of metrics).
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubectl's plugins for credentials, as upstream's own main
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json, as upstream's own mains
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client and work queue metrics, as upstream's own mains
	_ "k8s.io/component-base/metrics/prometheus/version"  // the build_info metric, as upstream's own mains
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	"kins/engine/internal/images"
	"kins/engine/internal/kubelet"
	"kins/engine/internal/metrics"
	"kins/engine/internal/oom"
	"kins/engine/internal/pods"
	"kins/engine/internal/provisioner"
	"kins/engine/internal/registry"
	"kins/engine/internal/serviceproxy"
	"kins/engine/internal/simulation"
)

// applet is one program. run finds its arguments in os.Args, as upstream's commands expect, and returns the exit code.
type applet struct {
	name    string
	summary string
	run     func() int
}

var applets = []applet{
	{"etcd", "the store (etcd)", func() int { etcdmain.Main(os.Args); return 0 }},
	{"kube-apiserver", "the API server", func() int { return cli.Run(apiserver.NewAPIServerCommand()) }},
	{"kube-controller-manager", "the controllers", func() int { return cli.Run(controllers.NewControllerManagerCommand()) }},
	{"kube-scheduler", "the scheduler", func() int { return cli.Run(scheduler.NewSchedulerCommand()) }},
	{"kubelet", "the node agent; --disable-cadvisor[=all] for nodes without cAdvisor's files [and control groups]", func() int {
		return cli.Run(kubelet.NewCommand(context.Background()))
	}},
	{"service-proxy", "answers on the addresses of Services", func() int {
		return serviceproxy.Main(os.Args[1:], os.Stderr)
	}},
	{"kubectl", "the client", runKubectl},
	{"images", "images of containerd's store", func() int {
		return images.Main(os.Args[1:], images.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	}},
	{"registry", "a registry of images (distribution)", func() int { return registry.Main(os.Args[1:], os.Stderr) }},
	{"oom", "tells containerd that a container was killed for want of memory", func() int { return oom.Main(os.Args[1:], os.Stderr) }},
	{"pods", "stops the containers of a node", func() int { return pods.Main(os.Args[1:], os.Stderr) }},
	{"provisioner", "a directory for each claim", func() int { return cli.Run(provisioner.NewCommand()) }},
	{"kwok", "nodes without a machine, and their pods (kwok)", func() int { return cli.Run(simulation.NewCommand()) }},
	{"metrics-server", "figures of nodes and pods (metrics-server)", func() int { return cli.Run(metrics.NewCommand()) }},
}

func main() {
	name := filepath.Base(os.Args[0])
	if find(name) == nil && len(os.Args) > 1 {
		name, os.Args = os.Args[1], os.Args[1:]
	}
	if chosen := find(name); chosen != nil {
		os.Args[0] = name
		os.Exit(chosen.run())
	}
	if name == "help" || name == "-h" || name == "--help" {
		usage(os.Stdout)
		return
	}
	usage(os.Stderr)
	os.Exit(2)
}

func find(name string) *applet {
	for i := range applets {
		if applets[i].name == name {
			return &applets[i]
		}
	}
	return nil
}

func usage(out io.Writer) {
	fmt.Fprintln(out, "usage: kins-engine APPLET [ARGUMENT...]")
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	for _, each := range applets {
		fmt.Fprintf(table, "  %s\t%s\n", each.name, each.summary)
	}
	table.Flush()
}

// runKubectl does what upstream's cmd/kubectl/kubectl.go does; the verbosity counts while the command is being made.
func runKubectl() int {
	_, _ = logs.GlogSetter(kubectl.GetLogVerbosity(os.Args))
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
		return 1
	}
	return 0
}
