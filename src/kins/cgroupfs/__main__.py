"""The server as a program: python -m kins.cgroupfs --mount DIRECTORY [--state FILE] [--version 1|2].

With --watch TREE instead it serves nothing and keeps the memory limits of control groups that somebody else serves.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
from pathlib import Path

from kins.cgroupfs.control_groups import ControlGroups
from kins.cgroupfs.enforcement import Enforcement
from kins.cgroupfs.limits import OwnLimits, TreeLimits
from kins.cgroupfs.server import notify, serve
from kins.errors import KinsError, system_error


def main() -> int:
    """Serve until told to stop; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m kins.cgroupfs", description="Control groups as a FUSE file system")
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--mount", type=Path, help="where to serve: an existing directory")
    place.add_argument("--watch", type=Path, metavar="TREE", help="keep the memory limits of this mounted hierarchy")
    parser.add_argument("--state", type=Path, help="what a restarted server goes on with")
    parser.add_argument("--version", type=int, choices=(1, 2), default=1, help="of the control groups")
    parser.add_argument("--enforce-memory", action="store_true", help="kill what holds more than its group may")
    parser.add_argument(
        "--on-kill",
        type=command,
        default=(),
        metavar="JSON",
        help="argv to run with the name of the group of each kill",
    )
    options = parser.parse_args()
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    try:
        if options.watch is not None:
            watch(options.watch, options.on_kill)
        else:
            groups = ControlGroups(options.version, options.state)
            enforcement = Enforcement(OwnLimits(groups), options.on_kill) if options.enforce_memory else None
            serve(groups, options.mount, enforcement)
    except KinsError as error:
        return failed(error)
    except OSError as error:
        return failed(system_error(error))
    return 0


def command(text: str) -> list[str]:
    """A command line as a JSON list. Raises argparse.ArgumentTypeError."""
    try:
        words = json.loads(text)
    except ValueError:
        words = None
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise argparse.ArgumentTypeError(f"not a JSON list of words: {text}")
    return words


def watch(tree: Path, tell: list[str]) -> None:
    """Keep the limits of a tree until SIGTERM or SIGINT. Raises KinsError."""
    if not (tree / "cgroup.procs").exists():
        raise KinsError(f"{tree} is no hierarchy of control groups", code="no-control-groups", hint="mount -t cgroup")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stopping.set())
    notify("READY=1")
    Enforcement(TreeLimits(tree), tell).watch(stopping)


def failed(error: KinsError) -> int:
    """Say what failed and what to do."""
    sys.stderr.write(f"error: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"hint: {error.hint}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
