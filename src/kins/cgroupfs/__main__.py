"""The server as a program: python -m kins.cgroupfs --mount DIRECTORY [--state FILE] [--version 1|2]."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from kins.cgroupfs.control_groups import ControlGroups
from kins.cgroupfs.server import serve
from kins.errors import KinsError, system_error


def main() -> int:
    """Serve until told to stop; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m kins.cgroupfs", description="Control groups as a FUSE file system")
    parser.add_argument("--mount", type=Path, required=True, help="an existing directory")
    parser.add_argument("--state", type=Path, help="what a restarted server goes on with")
    parser.add_argument("--version", type=int, choices=(1, 2), default=1, help="of the control groups")
    options = parser.parse_args()
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    try:
        serve(ControlGroups(options.version, options.state), options.mount)
    except KinsError as error:
        return failed(error)
    except OSError as error:
        return failed(system_error(error))
    return 0


def failed(error: KinsError) -> int:
    """Say what failed and what to do."""
    sys.stderr.write(f"error: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"hint: {error.hint}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
