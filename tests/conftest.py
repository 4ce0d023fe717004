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
LONG_GROUPS = ("endurance", "gvisor-overlay", "gvisor-9p", "native", "with-9p", "soak", "experiments", "eviction")
# `all` takes every scenario to every root of gVisor.
ROOTS = os.environ.get("KINS_TEST_ROOTS", "one")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes long begins first: a worker that came to it last would end long after the others. In a group that is
    what shares the session's cluster."""
    left_out = [item for item in items if ROOTS != "all" and _is_for_another_root(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = sorted((item for item in items if item not in set(left_out)), key=_rank)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> object:
    """A cluster ends when nothing needs it, not with the session: idle ones take time from all others."""
    if nextitem is None or _cluster(nextitem) == _cluster(item):
        return None
    # Without a next one nothing is kept for it.
    return item.ihook.pytest_runtest_protocol(item=item, nextitem=None)


def _is_for_another_root(item: pytest.Item) -> bool:
    mark, group = item.get_closest_marker("one_root"), _group(item)
    root = group.rpartition("-")[2] if group else None
    return mark is not None and root in GVISOR_ROOTS - {mark.args[0]}


def _rank(item: pytest.Item) -> tuple[int, bool]:
    group, own = _cluster(item)
    if group is None:
        return len(LONG_GROUPS) + 1, False
    return LONG_GROUPS.index(group) if group in LONG_GROUPS else len(LONG_GROUPS), own is not None


def _cluster(item: pytest.Item) -> tuple[str | None, str | None]:
    """A group, and in it what keeps to itself: a module with environments of its own."""
    group = _group(item)
    if group is None:
        return None, None
    shares = isinstance(item, pytest.Function) and "kubectl" in item.fixturenames
    return group, None if shares and not hasattr(item.module, "kubectl") else item.nodeid.partition("::")[0]


def _group(item: pytest.Item) -> str | None:
    """What runs with one worker, one after the other."""
    mark = item.get_closest_marker("xdist_group")
    return mark.args[0] if mark else None
