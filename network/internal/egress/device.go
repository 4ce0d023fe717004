package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// deviceName is the tun's in every pod.
	deviceName = "egress0"
	device     = "/dev/net/tun"
)

// halves are all addresses. Two routes of one bit go before the pod's default route, which stays for the time when the
// relay is away; gVisor has no route of no bit without a gateway.
var halves = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/1")}

// openDevice makes the tun in the pod's namespace, with routes to it. It goes when the file is closed.
func openDevice(wanted pod, direct []netip.Prefix) (*os.File, error) {
	type outcome struct {
		descriptor int
		err        error
	}
	done := make(chan outcome)
	go func() {
		// Never unlocked: a thread in the pod's namespace must not run anything else, and ends with this function.
		runtime.LockOSThread()
		descriptor, err := openDeviceHere(wanted, direct)
		done <- outcome{descriptor, err}
	}()
	result := <-done
	if result.err != nil {
		return nil, result.err
	}
	// Not blocking, so that closing it ends a read.
	return os.NewFile(uintptr(result.descriptor), device), nil
}

func openDeviceHere(wanted pod, direct []netip.Prefix) (int, error) {
	if err := enter(wanted.Namespace); err != nil {
		return -1, err
	}
	descriptor, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("opening %s: %w", device, err)
	}
	if err := configure(descriptor, wanted, direct); err != nil {
		return -1, errors.Join(err, unix.Close(descriptor))
	}
	return descriptor, nil
}

// enter goes into a network namespace; none is named for the node, which is where we are.
func enter(path string) error {
	if path == "" {
		return nil
	}
	namespace, err := os.Open(path)
	if err != nil {
		return err
	}
	defer namespace.Close()
	if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering %s: %w", path, err)
	}
	return nil
}

func configure(descriptor int, wanted pod, direct []netip.Prefix) error {
	request, err := unix.NewIfreq(deviceName)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(descriptor, unix.TUNSETIFF, request); err != nil {
		return fmt.Errorf("making the device %s: %w", deviceName, err)
	}
	link, err := netlink.LinkByName(deviceName)
	if err != nil {
		return err
	}
	// The pod's own, which connections then come from as all others do; gVisor takes no address of another link.
	address := netlink.Addr{IPNet: network(netip.PrefixFrom(wanted.Address, wanted.Address.BitLen()))}
	if err := netlink.AddrAdd(link, &address); err != nil {
		return fmt.Errorf("address of %s: %w", deviceName, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	// First what must not come to us.
	if err := routeDirect(wanted, direct); err != nil {
		return err
	}
	for _, each := range halves {
		if err := addRoute(each, link, nil); err != nil {
			return err
		}
	}
	return nil
}

// routeDirect has a pod reach these ranges by its node.
func routeDirect(wanted pod, direct []netip.Prefix) error {
	if len(direct) == 0 {
		return nil
	}
	toNode, err := netlink.LinkByName(wanted.Link)
	if err != nil {
		return err
	}
	for _, each := range direct {
		if err := addRoute(each, toNode, wanted.Gateway.AsSlice()); err != nil {
			return err
		}
	}
	return nil
}

// addRoute adds a route. Those by the node are there already when the relay was started again.
func addRoute(to netip.Prefix, by netlink.Link, gateway net.IP) error {
	route := netlink.Route{Dst: network(to), LinkIndex: by.Attrs().Index, Gw: gateway}
	if gateway == nil {
		route.Scope = netlink.SCOPE_LINK
	}
	err := netlink.RouteAdd(&route)
	if err != nil && !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("route to %s by %s: %w", to, by.Attrs().Name, err)
	}
	return nil
}

func network(prefix netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
}
