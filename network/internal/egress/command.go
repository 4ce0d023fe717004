// Package egress leads what pods send beyond the cluster to the outside of the sandbox, in user space: a tun device in
// each pod takes the packets, a TCP/IP stack of our own ends the connections there, and sockets of the sandbox's own
// continue them. It needs no packet filter, forwarding or rule of the kernel's, which gVisor lacks or keeps for itself.
package egress

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
)

const usage = `usage: kins-egress --directory DIRECTORY [--direct RANGE,...] [--here RANGE,...]
                   [--outside SOCKET [--entrance ADDRESS:PORT=ADDRESS:PORT]... [--node ADDRESS --loopback RANGE=RANGE]]
`

// options are those of the command line.
type options struct {
	directory string
	direct    []netip.Prefix
	// here are ranges that pods reach through the relay, and that are local to the node.
	here []netip.Prefix
	// outside is empty where this network namespace is the one that reaches the outside.
	outside   outside
	entrances []entrance
	// node is the node's own address on its way out, and invalid where it needs none; inside stands for loopback there.
	node             netip.Addr
	inside, loopback netip.Prefix
}

// Main runs until SIGTERM and returns the exit code: 1 with one line on stderr for a failure, 2 for wrong usage.
func Main(arguments []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("kins-egress", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	var wanted options
	flags.StringVar(&wanted.directory, "directory", "", "where the pods' files and the socket are")
	flags.Func("direct", "ranges that pods reach by the node, and not through the relay", func(text string) (err error) {
		wanted.direct, err = parseRanges(text)
		return err
	})
	flags.Func("here", "ranges that pods reach through the relay, from the node's network", func(text string) (err error) {
		wanted.here, err = parseRanges(text)
		return err
	})
	flags.StringVar((*string)(&wanted.outside), "outside", "", "who gives sockets of the network that reaches the outside")
	flags.Func("entrance", "a TCP port outside, and where it leads to here", func(text string) error {
		parsed, err := parseEntrance(text)
		wanted.entrances = append(wanted.entrances, parsed)
		return err
	})
	flags.TextVar(&wanted.node, "node", netip.Addr{}, "the node's own address on its way out")
	flags.Func("loopback", "a range here, and the one of the outside's loopback that it stands for", func(text string) error {
		here, there, _ := strings.Cut(text, "=")
		ranges, err := parseRanges(here + "," + there)
		if err == nil && (len(ranges) != 2 || ranges[0].Bits() != ranges[1].Bits()) {
			err = fmt.Errorf("%q is not two ranges of one size", text)
		}
		if err == nil {
			wanted.inside, wanted.loopback = ranges[0], ranges[1]
		}
		return err
	})
	if flags.Parse(arguments) != nil {
		return 2
	}
	if wanted.directory == "" || flags.NArg() != 0 || wanted.outside == "" && wanted.needsOutside() {
		flags.Usage()
		return 2
	}
	log.SetOutput(stderr)
	if err := run(wanted); err != nil {
		fmt.Fprintf(stderr, "error: %v\n", err)
		return 1
	}
	return 0
}

func (o options) needsOutside() bool {
	return len(o.entrances) != 0 || o.node.IsValid()
}

func parseRanges(text string) ([]netip.Prefix, error) {
	var ranges []netip.Prefix
	for _, each := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
		parsed, err := netip.ParsePrefix(each)
		if err != nil {
			return nil, err
		}
		ranges = append(ranges, parsed.Masked())
	}
	return ranges, nil
}

func run(wanted options) error {
	outward := fromHere
	if wanted.outside != "" {
		outward = wanted.outside.dial
	}
	server, err := listen(wanted.directory, wanted.direct, outward.except(wanted.here))
	if err != nil {
		return err
	}
	// Those that were there before we were started again.
	server.attachAll()
	if err := wanted.serveNode(outward); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go server.serve()
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.Printf("cannot tell the supervisor: %v", err)
	}
	<-stop
	return server.listener.Close()
}

// serveNode gives the node itself its way out, and opens the ways in.
func (o options) serveNode(outward dial) error {
	if o.node.IsValid() {
		if _, err := attach(pod{Address: o.node}, nil, outward.translated(o.inside, o.loopback)); err != nil {
			return err
		}
	}
	for _, each := range o.entrances {
		if err := each.open(o.outside); err != nil {
			return err
		}
	}
	return nil
}
