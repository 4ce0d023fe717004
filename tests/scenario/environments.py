"""The environments that every scenario runs in: the wheel installed, image archives at /images, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.harness.environment import Environment, image_binds
from tests.harness.gvisor import Sandbox
from tests.harness.images import image_archives
from tests.harness.native import Native
from tests.harness.wheel import kins_tree


def fresh(name: str, binds: Mapping[Path, str] | None = None) -> Environment:
    """A new environment of that kind, not started yet: `native`, `gvisor-overlay` or `gvisor-9p`.

    `binds` maps more host paths to paths inside, read-only.
    """
    tree, binds = kins_tree(), {**image_binds(image_archives()), **(binds or {})}
    kind, _, root = name.partition("-")
    if kind == "native":
        return Native(tree, binds=binds)
    return Sandbox(tree, root=root, binds=binds)


# A group each: what runs in one environment stays with one worker, where its cluster is.
ENVIRONMENTS = [
    pytest.param("native", marks=[pytest.mark.native, pytest.mark.xdist_group("native")]),
    pytest.param("gvisor-overlay", marks=[pytest.mark.sandbox, pytest.mark.xdist_group("gvisor-overlay")]),
    pytest.param("gvisor-9p", marks=[pytest.mark.sandbox, pytest.mark.xdist_group("gvisor-9p")]),
]
