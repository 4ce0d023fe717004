"""What the native and sandbox tests stand on: root file systems, gVisor sandboxes, images, snapshots of the outside.

Nothing here knows what kins should do; the expectations live in tests/native and tests/sandbox.
Everything made is cached under build/, so that only the first run on a machine pays for it.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
