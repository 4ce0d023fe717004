"""What the package carries, as its build wrote it down."""

from __future__ import annotations

import json

from kins.components.layout import BINARIES
from kins.errors import KinsError


def shipped_versions() -> dict[str, str]:
    """Versions by software, `kins` included. Raises KinsError in a source tree that was not built."""
    try:
        found: dict[str, str] = json.loads((BINARIES / "versions.json").read_text())
    except FileNotFoundError as error:
        raise KinsError(
            f"{BINARIES} holds no programs: this package was not built", code="not-built", hint="pip install ."
        ) from error
    return found


def pause_image() -> str:
    """The name of the image in the package's pause archive."""
    return shipped_versions()["pause-image"]
