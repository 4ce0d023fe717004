"""The CNI configuration (CNI specification 1.0.0) for our plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kins.network.addresses import BRIDGE, NODE_ADDRESS, POD_RANGE

FILE_NAME = "10-kins.conflist"


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
    return {"cniVersion": "1.0.0", "name": "kins", "plugins": [plugin]}
