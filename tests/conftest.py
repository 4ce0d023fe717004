"""What every test relies on."""

from __future__ import annotations

import os
import signal

import pytest

# A shell starts background jobs with SIGINT ignored, which their children inherit: nothing could be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

GVISOR_ROOTS = {"gvisor-overlay", "gvisor-9p"}
# Groups that take long, in the order in which they begin. The first waits for the better part of its ten minutes.
LONG_GROUPS = ("endurance", "gvisor-overlay", "gvisor-9p", "native", "experiments", "soak")
# `all` takes every scenario to every root of gVisor.
ROOTS = os.environ.get("KINS_TEST_ROOTS", "one")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes long begins first: a worker that came to it last would end long after the others."""
    left_out = [item for item in items if ROOTS != "all" and _is_for_another_root(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = sorted((item for item in items if item not in set(left_out)), key=_rank)


def _is_for_another_root(item: pytest.Item) -> bool:
    mark, group = item.get_closest_marker("one_root"), item.get_closest_marker("xdist_group")
    return mark is not None and group is not None and group.args[0] in GVISOR_ROOTS - {f"gvisor-{mark.args[0]}"}


def _rank(item: pytest.Item) -> int:
    mark = item.get_closest_marker("xdist_group")
    group = mark.args[0] if mark else None
    return LONG_GROUPS.index(group) if group in LONG_GROUPS else len(LONG_GROUPS)
