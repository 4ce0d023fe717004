"""The address ranges of a cluster."""

from __future__ import annotations

import ipaddress

BRIDGE = "kins0"
POD_RANGE = "10.42.0.0/16"
SERVICE_RANGE = "10.43.0.0/16"
# As large as the range of Services: a load balancer has the address at the same place in it as its cluster IP.
LOAD_BALANCER_RANGE = "10.44.0.0/16"
# Of simulated pods and nodes, which nobody can reach. RFC 2544 keeps these for tests of devices, so that nobody around
# a sandbox has them, and a connection to one gets no further than the next router.
SIMULATED_POD_RANGE = "198.18.0.0/16"
SIMULATED_NODE_RANGE = "198.19.0.0/16"
# Where pods share the sandbox's network, the sockets of a range's addresses are at the same places of these.
ON_LOOPBACK = {
    POD_RANGE: "127.42.0.0/16",
    SERVICE_RANGE: "127.43.0.0/16",
    LOAD_BALANCER_RANGE: "127.44.0.0/16",
}


# Where a node in a network of its own finds the sandbox's 127.0.0.0/24: of link-local addresses the ones that nobody
# gives away (RFC 3927, 2.1). The one after that is the node's own on the way out.
LOOPBACK = "127.0.0.0/24"
OUTER_LOOPBACK = "169.254.0.0/24"
WAY_OUT_ADDRESS = "169.254.1.1"


def of_outer_loopback(address: str) -> str:
    """An address of the sandbox as such a node reaches it: another one for loopback, everything else as it is."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found not in ipaddress.ip_network(LOOPBACK):
        return address
    return address_in(OUTER_LOOPBACK, int(found) - int(ipaddress.ip_network(LOOPBACK)[0]))


def address_in(network: str, number: int) -> str:
    """The `number`-th address of a range in CIDR notation, e.g. the first one for 1."""
    return str(ipaddress.ip_network(network)[number])


def with_prefix(network: str, number: int) -> str:
    """The same with the range's prefix length, as a link wants it: `10.42.0.1/16`."""
    return f"{address_in(network, number)}/{ipaddress.ip_network(network).prefixlen}"


NODE_ADDRESS = address_in(POD_RANGE, 1)
API_SERVICE_ADDRESS = address_in(SERVICE_RANGE, 1)
DNS_ADDRESS = address_in(SERVICE_RANGE, 10)
