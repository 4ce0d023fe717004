"""The environment of components: an allow-list, never the caller's whole environment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from kins.components.layout import BINARIES

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What reaches registries from this sandbox; only containerd, which pulls images, gets them.
NETWORK_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")

LOOPBACK = ("localhost", "127.0.0.0/8", "::1")


def component_environment(home: Path) -> dict[str, str]:
    """PATH with our binaries first, HOME and TMPDIR inside the cluster's directory, and nothing of the caller's."""
    return {
        "PATH": f"{BINARIES}:{SYSTEM_PATH}",
        "HOME": str(home),
        # containerd and the kubelet try what mounts can do in temporary directories, and leave them when killed.
        "TMPDIR": str(home / "tmp"),
        "LANG": "C.UTF-8",
    }


def network_environment(direct: Sequence[str]) -> dict[str, str]:
    """The caller's proxy and authority variables, whichever case they are written in.

    Nothing asks a proxy for loopback or for the `direct` ranges (CIDR), which it could not reach. Paths are absolute:
    components run in another directory.
    """
    names = (*NETWORK_VARIABLES, *(name.lower() for name in NETWORK_VARIABLES[:3]))
    found = {name: os.environ[name] for name in names if os.environ.get(name)}
    for name in {"SSL_CERT_FILE", "SSL_CERT_DIR"}.intersection(found):
        found[name] = ":".join(os.path.abspath(path) for path in found[name].split(":"))
    if any(name.lower() in ("http_proxy", "https_proxy") for name in found):
        # Go asks for the upper case first (golang.org/x/net/http/httpproxy).
        excepted = found.pop("NO_PROXY", "") or found.get("no_proxy", "")
        found["no_proxy"] = ",".join(filter(None, (excepted, *LOOPBACK, *direct)))
    return found


def python_environment() -> dict[str, str]:
    """What a component needs that is started by our own Python: where that finds us, if it was told."""
    return {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
