// Package simulation runs kwok (sigs.k8s.io/kwok): nodes without a machine, whose pods report that they run.
//
// What a simulated node and pod report is upstream's; ours is which pods complete, how both are marked as simulated, and
// a plain answer to whoever asks such a pod for logs or for a shell.
package simulation

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kwok/pkg/kwok/controllers"
)

// simulatedNodes selects what is simulated, by upstream's own word for it; every other node is left alone.
const simulatedNodes = "kwok.x-k8s.io/node=fake"

// holder owns the nodes' leases. The same after a restart: another holder would wait until the lease of the one before
// has run out, and nothing would be simulated for that long.
const holder = "kwok"

// As the kubelet's: the lease's length in seconds.
const leaseSeconds = 40

// How many pods, nodes and leases are worked on at once; upstream's defaults.
const parallelism = 4

// Requests per second: upstream's kwok has no limit. Hundreds of pods are to run within seconds.
const (
	requestRate  = 1000
	requestBurst = 2000
)

type options struct {
	kubeconfig  string
	podRange    string
	bindAddress string
	port        int
	certificate string
	key         string
	clientCA    string
}

// NewCommand is the applet: it runs until it is told to end.
func NewCommand() *cobra.Command {
	var given options
	command := &cobra.Command{
		Use:          "kwok --kubeconfig FILE --pod-range CIDR --bind-address ADDRESS --port PORT …",
		Short:        "Simulates the nodes with the annotation " + simulatedNodes + " and their pods",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE:         func(*cobra.Command, []string) error { return run(genericapiserver.SetupSignalContext(), given) },
	}
	flags := command.Flags()
	flags.StringVar(&given.kubeconfig, "kubeconfig", "", "how to reach the API server")
	flags.StringVar(&given.podRange, "pod-range", "", "from which pods have their addresses")
	flags.StringVar(&given.bindAddress, "bind-address", "127.0.0.1", "where the API server finds the nodes' kubelet")
	flags.IntVar(&given.port, "port", 0, "its port")
	flags.StringVar(&given.certificate, "tls-cert-file", "", "its certificate")
	flags.StringVar(&given.key, "tls-private-key-file", "", "the certificate's key")
	flags.StringVar(&given.clientCA, "client-ca-file", "", "the authority of those who may ask it")
	for _, name := range []string{"kubeconfig", "pod-range", "port", "tls-cert-file", "tls-private-key-file", "client-ca-file"} {
		if err := command.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
	return command
}

func run(ctx context.Context, given options) error {
	podRange, err := netip.ParsePrefix(given.podRange)
	if err != nil {
		return fmt.Errorf("the range of pods: %w", err)
	}
	listener, err := listen(given)
	if err != nil {
		return err
	}
	defer listener.Close()
	config, err := clientcmd.BuildConfigFromFlags("", given.kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = requestRate, requestBurst
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	pool, err := newPool(ctx, client, podRange)
	if err != nil {
		return err
	}
	simulator, err := newSimulator(client, pool, given)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serve(ctx, listener) })
	if err := simulator.Start(ctx); err != nil {
		return err
	}
	if _, err := daemon.SdNotify(true, daemon.SdNotifyReady); err != nil {
		return err
	}
	if err := group.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// newSimulator is upstream's controllers, with our stages, and addresses that no other pod has.
func newSimulator(client kubernetes.Interface, pool *pool, given options) (*controllers.Controller, error) {
	played, err := stages()
	if err != nil {
		return nil, err
	}
	addressesOf := func(node string, hostNetwork bool, _, _, _ string) ([]string, error) {
		return pool.addresses(node, hostNetwork)
	}
	return controllers.NewController(controllers.Config{
		TypedClient:                       client,
		ManageNodesWithAnnotationSelector: simulatedNodes,
		NodePort:                          given.port,
		// Upstream's own pool, which nothing asks; without a range it would complain of each pod.
		CIDR:                      given.podRange,
		LocalStages:               played,
		ID:                        holder,
		NodeLeaseDurationSeconds:  leaseSeconds,
		NodeLeaseParallelism:      parallelism,
		NodePlayStageParallelism:  parallelism,
		PodPlayStageParallelism:   parallelism,
		PodsOnNodeSyncParallelism: parallelism,
		FuncMap:                   map[string]any{"PodIPsWith": addressesOf},
	})
}
