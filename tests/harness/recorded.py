"""The library of recorded facts: what `kins doctor --report` says in real sandboxes, one file each.

For people: python -m tests.harness.recorded [NAME…]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.harness import ROOT
from tests.harness.environment import Environment
from tests.harness.gvisor import Sandbox, debian_runsc
from tests.harness.native import Native
from tests.harness.rootfs import USER_ID
from tests.harness.wheel import kins_tree

FACTS = ROOT / "tests" / "unit" / "facts"


@dataclass(frozen=True)
class Recorded:
    """How a sandbox is made, and who asks in it."""

    make: Callable[[Path], Environment]
    user: int = 0


SANDBOXES = {
    "native-root": Recorded(Native),
    "native-docker-capabilities": Recorded(lambda tree: Native(tree, capabilities="docker")),
    "native-user": Recorded(Native, USER_ID),
    "gvisor-overlay": Recorded(lambda tree: Sandbox(tree, root="overlay")),
    "gvisor-9p": Recorded(lambda tree: Sandbox(tree, root="9p")),
    "gvisor-docker-capabilities": Recorded(lambda tree: Sandbox(tree, root="overlay", capabilities="docker")),
    "gvisor-9p-docker-capabilities": Recorded(lambda tree: Sandbox(tree, root="9p", capabilities="docker")),
    "gvisor-sandbox-network": Recorded(lambda tree: Sandbox(tree, network="sandbox")),
    "gvisor-host-network": Recorded(lambda tree: Sandbox(tree, network="host")),
    "gvisor-docker-capabilities-host-network": Recorded(
        lambda tree: Sandbox(tree, root="overlay", capabilities="docker", network="host")
    ),
    "gvisor-of-2022": Recorded(lambda tree: Sandbox(tree, program=debian_runsc())),
    "native-read-only-kernel": Recorded(lambda tree: Native(tree, read_only_kernel=True)),
    "native-user-without-namespaces": Recorded(lambda tree: Native(tree, user_namespaces=False), USER_ID),
    "gvisor-user": Recorded(lambda tree: Sandbox(tree, root="overlay"), USER_ID),
}


def record(name: str) -> Path:
    """Make the sandbox, ask it, and keep its answer."""
    recorded = SANDBOXES[name]
    with recorded.make(kins_tree()) as environment:
        said = environment.run(["kins", "doctor", "--report"], user=recorded.user)
    FACTS.mkdir(exist_ok=True)
    file = FACTS / f"{name}.json"
    file.write_text(said.stdout)
    return file


def main() -> int:
    """Record facts of all sandboxes, or of those named."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.recorded", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(SANDBOXES)}")
    for name in parser.parse_args().names or SANDBOXES:
        print(record(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
