"""What every test relies on."""

from __future__ import annotations

import os
import signal

import pytest

# A shell starts background jobs with SIGINT ignored, which their children inherit: nothing could be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How the groups of the two roots of gVisor end.
GVISOR_ROOTS = {"overlay", "9p"}
# Groups that take long, in the order in which they begin. The first waits for the better part of its ten minutes.
LONG_GROUPS = ("endurance", "gvisor-overlay", "gvisor-9p", "native", "experiments", "soak")
# `all` takes every scenario to every root of gVisor.
ROOTS = os.environ.get("KINS_TEST_ROOTS", "one")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes long begins first: a worker that came to it last would end long after the others."""
    left_out = [item for item in items if ROOTS != "all" and _is_for_another_root(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = sorted((item for item in items if item not in set(left_out)), key=_rank)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> object:
    """A group's clusters end with it, not with the session: idle ones take time from all others."""
    if nextitem is None or _group(nextitem) == _group(item):
        return None
    # Without a next one nothing is kept for it.
    return item.ihook.pytest_runtest_protocol(item=item, nextitem=None)


def _is_for_another_root(item: pytest.Item) -> bool:
    mark, group = item.get_closest_marker("one_root"), _group(item)
    root = group.rpartition("-")[2] if group else None
    return mark is not None and root in GVISOR_ROOTS - {mark.args[0]}


def _rank(item: pytest.Item) -> int:
    group = _group(item)
    return LONG_GROUPS.index(group) if group in LONG_GROUPS else len(LONG_GROUPS)


def _group(item: pytest.Item) -> str | None:
    """What runs with one worker, one after the other: the tests of a cluster."""
    mark = item.get_closest_marker("xdist_group")
    return mark.args[0] if mark else None
