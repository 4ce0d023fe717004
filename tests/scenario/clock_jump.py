"""The clock moves forward by an hour, in a gVisor whose clock root can set. Run by `make pauses` alone, which builds
that one."""

from __future__ import annotations

import time

import pytest
from tests.scenario import pausing
from tests.scenario.cluster import PATIENCE, eventually
from tests.scenario.environments import fresh

pytestmark = [pytest.mark.sandbox, pytest.mark.xdist_group("gvisor-overlay")]


def test_an_hour_forward() -> None:
    """The node is Ready again, and no pod was replaced or restarted: not at once, and not when leases run out."""
    with fresh("gvisor-overlay") as environment:
        cluster = pausing.start(environment)
        before = pausing.lives(cluster)
        environment.run(["date", "--set=+1 hour"])
        # gVisor takes samples of the clock, once a second.
        eventually(lambda: float(environment.output("date", "+%s")) > time.time() + 3500)
        after = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 3500))
        seconds = pausing.ready_again(cluster, after)
        print(f"Ready again after {seconds:.1f} s")
        pausing.check_pods(cluster, before)
        environment.kins("down", timeout=PATIENCE)
