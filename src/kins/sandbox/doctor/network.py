"""Networks of pods and of Services, and the way to the outside."""

from __future__ import annotations

from kins.sandbox.doctor.model import Cure, Explanation, always
from kins.sandbox.facts import Facts
from kins.sandbox.levels import pod_network

OWN_NETWORK = "give the sandbox a network of its own and CAP_NET_ADMIN (gVisor: --network=sandbox or none, not host)"


def _iptables(facts: Facts) -> str:
    if not facts.iptables:
        return "no iptables program"
    works = [name for name, answer in facts.iptables.items() if answer]
    fails = [name for name, answer in facts.iptables.items() if not answer]
    return f"{', '.join(works) or 'nothing'} work; {', '.join(fails) or 'nothing'} fail"


def _resolvers(facts: Facts) -> str:
    return ", ".join(f"{address} {answer}" for address, answer in facts.resolvers.items()) or "none"


NETWORK = (
    Explanation(
        "pod_network",
        "pods need network namespaces, joined by veths and a bridge",
        OWN_NETWORK,
        cures=(
            Cure(
                "pods share the sandbox's network: a tracer leads each to an address of loopback",
                "nothing keeps pods apart",
                lambda facts: pod_network(facts) == "shared",
            ),
        ),
    ),
    Explanation(
        "loopback_addresses",
        "pods can share the sandbox's network where namespaces have none",
        "run the sandbox as root with CAP_SYS_ADMIN, and with loopback up",
    ),
    Explanation("bridge", "pods of the node meet at it", OWN_NETWORK),
    Explanation("veth", "one end is a pod's, the other at the bridge", OWN_NETWORK),
    Explanation("ranges_on_loopback", "the ranges of Services become local by one address on `lo`", OWN_NETWORK),
    Explanation("routes", "a pod's way out is by its default route", OWN_NETWORK),
    Explanation("forwarding", "packets pass from pod to pod and to the sandbox", OWN_NETWORK),
    Explanation(
        "used_ranges",
        "pods, Services and load balancers have ranges that nothing else here may use: 10.42.0.0/16 to 10.44.0.0/16",
        "free the range; ip addr; ip route",
        works=always,
        shown=lambda facts: ", ".join(facts.used_ranges) or "none",
    ),
    Explanation(
        "iptables",
        "stock kube-proxy, other CNI plugins and Docker need them; Services here need none",
        "",
        works=always,
        shown=_iptables,
    ),
)
NAMES = (
    Explanation(
        "resolvers",
        "pods find outside names by the sandbox's resolvers",
        "a nameserver in /etc/resolv.conf that answers",
        works=lambda facts: any(answer != "unreachable" for answer in facts.resolvers.values()),
        shown=_resolvers,
    ),
    Explanation(
        "proxies",
        "images are pulled through the proxy; pods hear of it by `kins up --proxy-for-pods`",
        "",
        works=always,
        shown=lambda facts: ", ".join(facts.proxies) or "none is set",
    ),
    Explanation(
        "authorities",
        "a proxy that opens TLS has its own authority: SSL_CERT_FILE serves pulls, and `kins up --proxy-for-pods` pods",
        "",
        works=always,
        shown=lambda facts: ", ".join(facts.authorities) or "none besides the system's",
    ),
)
