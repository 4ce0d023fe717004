"""What every test relies on."""

from __future__ import annotations

import signal

import pytest

# A shell starts background jobs with SIGINT ignored, which their children inherit: nothing could be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Groups that take long, in the order in which they begin. The first waits for the better part of its ten minutes.
LONG_GROUPS = ("endurance", "gvisor-overlay", "gvisor-9p", "native", "experiments", "soak")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first: a worker that came to it last would end long after the others."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    mark = item.get_closest_marker("xdist_group")
    group = mark.args[0] if mark else None
    return LONG_GROUPS.index(group) if group in LONG_GROUPS else len(LONG_GROUPS)
