"""Which targets and matches the sandbox's own iptables program can use here.

kins needs none of them. Stock kube-proxy, CNI plugins and Docker do, and their failures name no target.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from kins.sandbox.probes.network import own_network
from kins.sandbox.probes.programs import found_program
from kins.sandbox.probes.table import Values

# In gVisor only the legacy program has a counterpart in the kernel.
NAMES = ("iptables-legacy", "iptables")
RULES = {
    "DNAT": "PREROUTING -p tcp -j DNAT --to-destination 10.42.0.2:80",
    "SNAT": "POSTROUTING -p tcp -j SNAT --to-source 10.42.0.1",
    "MASQUERADE": "POSTROUTING -j MASQUERADE",
    "REDIRECT": "PREROUTING -p tcp -j REDIRECT --to-ports 80",
    "MARK": "PREROUTING -j MARK --set-mark 1",
    "addrtype": "PREROUTING -m addrtype --dst-type LOCAL -j ACCEPT",
    "comment": "PREROUTING -m comment --comment kins -j ACCEPT",
    "conntrack": "PREROUTING -m conntrack --ctstate ESTABLISHED -j ACCEPT",
    "mark": "PREROUTING -m mark --mark 1 -j ACCEPT",
    "multiport": "PREROUTING -p tcp -m multiport --dports 80,443 -j ACCEPT",
    "owner": "OUTPUT -m owner --uid-owner 0 -j ACCEPT",
    "statistic": "PREROUTING -m statistic --mode random --probability 0.5 -j ACCEPT",
}


def iptables(scratch: Path) -> dict[str, bool]:
    """Each target and match, tried in the nat table of a new network namespace; nothing without the program."""
    program = next((path for path in map(found_program, NAMES) if path), None)
    if program is None:
        return {}
    own_network(scratch)
    return {name: _works(program, rule) for name, rule in RULES.items()}


def _works(program: str, rule: str) -> bool:
    return subprocess.run([program, "-t", "nat", "-A", *rule.split()], capture_output=True, check=False).returncode == 0


VALUES: Values = {"iptables": (iptables, {})}
