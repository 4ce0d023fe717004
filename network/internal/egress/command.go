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

const usage = "usage: kins-egress --directory DIRECTORY [--direct RANGE,...]\n"

// Main runs until SIGTERM and returns the exit code: 1 with one line on stderr for a failure, 2 for wrong usage.
func Main(arguments []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("kins-egress", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	directory := flags.String("directory", "", "where the pods' files and the socket are")
	direct := flags.String("direct", "", "ranges that pods reach by the node, and not through the relay")
	if flags.Parse(arguments) != nil {
		return 2
	}
	ranges, err := parseRanges(*direct)
	if *directory == "" || flags.NArg() != 0 || err != nil {
		flags.Usage()
		return 2
	}
	log.SetOutput(stderr)
	if err := run(*directory, ranges); err != nil {
		fmt.Fprintf(stderr, "error: %v\n", err)
		return 1
	}
	return 0
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

func run(directory string, direct []netip.Prefix) error {
	server, err := listen(directory, direct)
	if err != nil {
		return err
	}
	// Those that were there before we were started again.
	server.attachAll()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go server.serve()
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.Printf("cannot tell the supervisor: %v", err)
	}
	<-stop
	return server.listener.Close()
}
