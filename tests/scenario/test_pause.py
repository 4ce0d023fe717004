"""Every process stands still for a while, as when a laptop sleeps or a sandbox is paused."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from tests.harness.environment import Environment
from tests.scenario import pausing
from tests.scenario.cluster import PATIENCE
from tests.scenario.environments import ENVIRONMENTS, fresh

# `make pauses` takes two minutes: after 50 s without a word of the kubelet a node counts as unreachable.
SECONDS = float(os.environ.get("KINS_TEST_PAUSE", "15"))
# It does so everywhere, too.
WHERE = ENVIRONMENTS if "KINS_TEST_PAUSE" in os.environ else ENVIRONMENTS[1:2]


@pytest.fixture(scope="module", params=WHERE)
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """An environment of this module's own: it stands still."""
    with fresh(request.param) as started:
        yield started


def test_a_pause(environment: Environment) -> None:
    """The node is Ready again, and no pod was replaced or restarted."""
    cluster = pausing.start(environment)
    before, renewed = pausing.lives(cluster), pausing.lease(cluster)
    environment.pause()
    time.sleep(SECONDS)
    environment.resume()
    seconds = pausing.ready_again(cluster, renewed)
    print(f"Ready again {seconds:.1f} s after a pause of {SECONDS:g} s")
    pausing.check_pods(cluster, before)
    environment.kins("down", timeout=PATIENCE)
