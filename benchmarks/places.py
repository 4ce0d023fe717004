"""Where a benchmark runs: native namespaces or a gVisor sandbox, from the harness of the tests, with kins in it."""

from __future__ import annotations

import json
import os
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness import BUILD, ROOT
from tests.harness.environment import VARIABLES, Environment
from tests.harness.gvisor import Sandbox
from tests.harness.native import Native
from tests.harness.rootfs import sandbox_tree
from tests.harness.wheel import ENVIRONMENT, kins_tree

PLACES = ("native", "gvisor")

# Where things are bound inside.
PROGRAMS = "/opt/benchmark"
SOURCE = "/opt/source"

WRAPPER = f"""\
#!/bin/sh
PYTHONPATH={SOURCE}/src:{SOURCE}/site exec python3 -m kins.cli "$@"
"""


@dataclass(frozen=True)
class Installation:
    """A root file system and what to bind into it, so that `kins` is on the path; `engine` is its program inside."""

    origin: str
    tree: Path
    engine: str
    binds: Mapping[Path, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


def from_wheel() -> Installation:
    """The wheel in dist/, installed as a user would."""
    tree = kins_tree()
    inside = f"{ENVIRONMENT}/lib/python3*/site-packages/kins/_bin/kins-engine"
    (engine,) = tree.glob(inside.lstrip("/"))
    return Installation("wheel", tree, f"/{engine.relative_to(tree)}")


def from_source() -> Installation:
    """The source tree, with the dependencies of the Python that runs this; it must be the version of the trees'."""
    directory = BUILD / "benchmarks" / "bin"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "kins").write_text(WRAPPER)
    (directory / "kins").chmod(0o755)
    packages = Path(sysconfig.get_path("platlib"))
    binds = {ROOT / "src": f"{SOURCE}/src", packages: f"{SOURCE}/site", directory: f"{SOURCE}/bin"}
    path = {"PATH": f"{SOURCE}/bin:{VARIABLES['PATH']}"}
    return Installation("source", sandbox_tree(), f"{SOURCE}/src/kins/_bin/kins-engine", binds, path)


def environment(place: str, installation: Installation, binds: Mapping[Path, str] | None = None) -> Environment:
    """A new environment of that kind, to be entered with `with`."""
    programs = {ROOT / "benchmarks": f"{PROGRAMS}/benchmarks", **installation.binds, **(binds or {})}
    if place == "native":
        # A copy: an ordinary machine's root is no overlay, and containerd's needs one that is not.
        return Native(installation.tree, root="copy", binds=programs)
    return Sandbox(installation.tree, root="overlay", binds=programs)


def measured(inside: Environment, installation: Installation, program: Sequence[str], timeout: float) -> Any:
    """What one of the programs of `benchmarks.inside` finds out inside an environment."""
    # What the copy of the tree has left to write would be written during the measurement.
    os.sync()
    command = ["env", f"--chdir={PROGRAMS}", "python3", "-m", *program, f"--engine={installation.engine}"]
    return json.loads(inside.run(command, timeout=timeout, variables=installation.variables).stdout)
