"""The CNI configuration (CNI specification 1.0.0) for our plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kins.network.addresses import BRIDGE, NODE_ADDRESS, POD_RANGE

FILE_NAME = "10-kins.conflist"
NAME = "kins"


def configuration(data_directory: Path, egress: Path | None = None) -> dict[str, Any]:
    """A network list with the one plugin. `data_directory` keeps the addresses that are taken; in `egress` it tells the
    relay of the pods' way out, if there is one, of each pod."""
    plugin = {
        "type": "kins-cni",
        "bridge": BRIDGE,
        "subnet": POD_RANGE,
        "gateway": NODE_ADDRESS,
        "dataDir": str(data_directory),
        **({"egress": str(egress)} if egress is not None else {}),
    }
    return _list(plugin)


def shared_configuration(data_directory: Path) -> dict[str, Any]:
    """The same for pods that have addresses and no links."""
    return _list(
        {
            "type": "kins-cni",
            "shared": True,
            "subnet": POD_RANGE,
            "gateway": NODE_ADDRESS,
            "dataDir": str(data_directory),
        }
    )


def address_directory(data_directory: Path) -> Path:
    """Where the plugin keeps who has which address."""
    return data_directory / NAME


def _list(plugin: dict[str, Any]) -> dict[str, Any]:
    return {"cniVersion": "1.0.0", "name": NAME, "plugins": [plugin]}
