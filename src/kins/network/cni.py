"""The CNI configuration (CNI specification 1.0.0) for our plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kins.network.addresses import BRIDGE, NODE_ADDRESS, POD_RANGE

FILE_NAME = "10-kins.conflist"


def configuration(data_directory: Path) -> dict[str, Any]:
    """A network list with the one plugin; `data_directory` keeps the addresses that are taken."""
    plugin = {
        "type": "kins-cni",
        "bridge": BRIDGE,
        "subnet": POD_RANGE,
        "gateway": NODE_ADDRESS,
        "dataDir": str(data_directory),
    }
    return {"cniVersion": "1.0.0", "name": "kins", "plugins": [plugin]}
