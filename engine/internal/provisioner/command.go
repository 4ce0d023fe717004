// Package provisioner gives each PersistentVolumeClaim of its storage classes a directory below one directory.
//
// What a provisioner must do in which order is upstream's library
// (sigs.k8s.io/sig-storage-lib-external-provisioner); ours is what a volume is.
package provisioner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// name is the `provisioner` of the storage classes that are served.
const name = "kins/directory"

// After a failure the library waits 15 s by default, and ever longer: the API server of a cluster that comes up is away
// for a second.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = time.Minute
)

// Requests per second: client-go's 5 would make a chart with many claims wait.
const (
	requestRate  = 50
	requestBurst = 100
)

type options struct {
	kubeconfig string
	directory  string
	node       string
}

// NewCommand is the applet: it runs until it is told to end.
func NewCommand() *cobra.Command {
	var given options
	command := &cobra.Command{
		Use:          "provisioner --kubeconfig FILE --directory DIRECTORY [--node NAME]",
		Short:        "Makes a directory for each claim of a storage class with the provisioner " + name,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE:         func(*cobra.Command, []string) error { return run(given) },
	}
	flags := command.Flags()
	flags.StringVar(&given.kubeconfig, "kubeconfig", "", "how to reach the API server")
	flags.StringVar(&given.directory, "directory", "", "below which the volumes' directories are")
	flags.StringVar(&given.node, "node", "", "the node on which the directory is; volumes for none without it")
	return command
}

func run(given options) error {
	if given.kubeconfig == "" || given.directory == "" {
		return errors.New("--kubeconfig and --directory are needed")
	}
	root, err := os.OpenRoot(given.directory)
	if err != nil {
		return fmt.Errorf("the directory of the volumes: %w", err)
	}
	defer root.Close()
	config, err := clientcmd.BuildConfigFromFlags("", given.kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = requestRate, requestBurst
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx := genericapiserver.SetupSignalContext()
	factory := informers.NewSharedInformerFactory(client, 0)
	// Alone, and therefore without leader election.
	provisioning := controller.NewProvisionController(
		ctx, client, name, &directories{root: root, node: given.node, simulated: simulatedBy(client)},
		controller.LeaderElection(false),
		// Else the data of a volume whose object is deleted before its claim would stay for ever.
		controller.AddFinalizer(true),
		controller.RateLimiter(workqueue.NewTypedItemExponentialFailureRateLimiter[string](firstRetry, lastRetry)),
		controller.FailedProvisionThreshold(0),
		controller.FailedDeleteThreshold(0),
		controller.ClaimsInformer(factory.Core().V1().PersistentVolumeClaims().Informer()),
		controller.VolumesInformer(factory.Core().V1().PersistentVolumes().Informer()),
		controller.ClassesInformer(factory.Storage().V1().StorageClasses().Informer()),
	)
	factory.Start(ctx.Done())
	for kind, known := range factory.WaitForCacheSync(ctx.Done()) {
		if !known {
			return fmt.Errorf("told to end before %v were known", kind)
		}
	}
	if _, err := daemon.SdNotify(true, daemon.SdNotifyReady); err != nil {
		return err
	}
	provisioning.Run(ctx)
	return nil
}

// simulatedBy asks the API server about a node: one has the annotation by which kwok knows those that it plays.
func simulatedBy(client kubernetes.Interface) func(context.Context, string) (bool, error) {
	return func(ctx context.Context, name string) (bool, error) {
		node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return node.Annotations["kwok.x-k8s.io/node"] == "fake", nil
	}
}
