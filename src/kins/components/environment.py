"""The environment of components: an allow-list, never the caller's whole environment."""

from __future__ import annotations

import os
from pathlib import Path

from kins.components.layout import BINARIES

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What reaches registries from this sandbox; only containerd, which pulls images, gets them.
NETWORK_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


def component_environment(home: Path) -> dict[str, str]:
    """PATH with our binaries first, HOME and TMPDIR inside the cluster's directory, and nothing of the caller's."""
    return {
        "PATH": f"{BINARIES}:{SYSTEM_PATH}",
        "HOME": str(home),
        # containerd and the kubelet try what mounts can do in temporary directories, and leave them when killed.
        "TMPDIR": str(home / "tmp"),
        "LANG": "C.UTF-8",
    }


def network_environment() -> dict[str, str]:
    """The caller's proxy and authority variables, whichever case they are written in."""
    names = (*NETWORK_VARIABLES, *(name.lower() for name in NETWORK_VARIABLES[:3]))
    return {name: os.environ[name] for name in names if name in os.environ}


def python_environment() -> dict[str, str]:
    """What a component needs that is started by our own Python: where that finds us, if it was told."""
    return {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
