package serviceproxy

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"kins/engine/internal/intercept/rules"
)

// accessInterval is the pause between two looks whether the API server lets us in.
const accessInterval = 100 * time.Millisecond

// forward is an address that leads to another one, whatever the objects say.
type forward struct {
	from, to netip.AddrPort
}

// forwards is a flag that may be given several times, each ADDRESS:PORT=ADDRESS:PORT.
type forwards []forward

func (f *forwards) String() string { return fmt.Sprint([]forward(*f)) }

func (f *forwards) Set(text string) error {
	from, to, _ := strings.Cut(text, "=")
	first, firstErr := netip.ParseAddrPort(from)
	second, secondErr := netip.ParseAddrPort(to)
	*f = append(*f, forward{first, second})
	return errors.Join(firstErr, secondErr)
}

// addresses is a flag that may be given several times, each an IPv4 address.
type addresses []netip.Addr

func (a *addresses) String() string { return fmt.Sprint([]netip.Addr(*a)) }

func (a *addresses) Set(text string) error {
	ip, is := parseIPv4(text)
	if !is {
		return fmt.Errorf("%q is no IPv4 address", text)
	}
	*a = append(*a, ip)
	return nil
}

// configuration is what the flags say.
type configuration struct {
	kubeconfig string
	node       node
	forwards   forwards
	addresses  string
}

func parse(arguments []string, stderr io.Writer) (*configuration, error) {
	given := &configuration{}
	flags := flag.NewFlagSet("service-proxy", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&given.kubeconfig, "kubeconfig", "", "the API server and who we are to it")
	flags.StringVar(&given.node.name, "node-name", "", "the node whose pods' host ports are served")
	flags.Var((*addresses)(&given.node.addresses), "node-address", "where node ports and host ports answer (repeatable)")
	flags.TextVar(&given.node.serviceRange, "service-range", netip.Prefix{}, "the cluster IPs")
	flags.TextVar(&given.node.loadBalancerRange, "load-balancer-range", netip.Prefix{},
		"the addresses of load balancers, as large as the range of cluster IPs; none: they get no address")
	flags.Var(&given.forwards, "forward", "ADDRESS:PORT=ADDRESS:PORT, TCP, whatever Services there are (repeatable)")
	flags.StringVar(&given.addresses, "addresses", "",
		"a file of rules as kins-intercept has them: where the sockets of addresses are, if elsewhere")
	logging := flag.NewFlagSet("", flag.ContinueOnError)
	klog.InitFlags(logging)
	flags.Var(logging.Lookup("v").Value, "v", "how much is logged: 1 is each connection that fails")
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	if given.kubeconfig == "" || given.node.name == "" || flags.NArg() > 0 {
		flags.Usage()
		return nil, errors.New("--kubeconfig and --node-name are needed, and nothing but flags is known")
	}
	return given, nil
}

// Main serves until SIGTERM and returns the exit code: 1 with one line on stderr for a failure, 2 for wrong usage. It
// tells sd_notify(3) when every Service that it found has its sockets.
func Main(arguments []string, stderr io.Writer) int {
	given, err := parse(arguments, stderr)
	if err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, given); err != nil {
		fmt.Fprintf(stderr, "error: %v\n", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, given *configuration) error {
	table := newTable(given.node.addresses)
	if given.addresses != "" {
		set, err := rules.Read(given.addresses)
		if err != nil {
			return err
		}
		table.router.network = set.Addresses
	}
	client, err := connect(given.kubeconfig)
	if err != nil {
		return err
	}
	if err := awaitAccess(ctx, client); err != nil {
		return nil // told to end
	}
	for _, each := range given.forwards {
		table.set(owner{name: "--forward " + each.from.String()}, []wish{{
			addresses: []address{{corev1.ProtocolTCP, each.from}},
			endpoints: []netip.AddrPort{each.to},
		}})
	}
	controller, err := newController(client, given.node, table)
	if err != nil {
		return err
	}
	controller.run(ctx, func() {
		if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
			klog.ErrorS(err, "Cannot tell that the Services are served")
		}
	})
	return nil
}

// connect makes a client without a limit of rate: it writes a load balancer's status now and then, and else watches.
func connect(path string) (kubernetes.Interface, error) {
	configuration, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, err
	}
	configuration.QPS = -1
	configuration.ContentType = runtime.ContentTypeProtobuf
	configuration.UserAgent = "kins-service-proxy"
	return kubernetes.NewForConfig(configuration)
}

// awaitAccess waits until we may read what we need: when a cluster starts we are there before the API server is, and
// before it knows our role. An informer that is refused once would look again only after most of a second, and then
// after longer pauses still.
func awaitAccess(ctx context.Context, client kubernetes.Interface) error {
	return wait.PollUntilContextCancel(ctx, accessInterval, true, func(ctx context.Context) (bool, error) {
		one := metav1.ListOptions{Limit: 1}
		_, err := client.CoreV1().Pods("").List(ctx, one)
		return err == nil, nil
	})
}
