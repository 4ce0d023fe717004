"""The cheapest rows of the matrix: those whose kind of sandbox no other test is in. `make matrix` takes all of them."""

from __future__ import annotations

import pytest
from tests.harness.matrix.measuring import measure
from tests.harness.matrix.rows import ROWS

NATIVE = [pytest.mark.native, pytest.mark.xdist_group("native")]
GVISOR = [pytest.mark.sandbox, pytest.mark.xdist_group("gvisor-9p")]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("gvisor-2022", marks=GVISOR),
        pytest.param("gvisor-9p-docker-host", marks=GVISOR),
        pytest.param("native-docker", marks=NATIVE),
        pytest.param("native-groups", marks=NATIVE),
        pytest.param("native-user", marks=NATIVE),
        pytest.param("native-user-alone", marks=NATIVE),
    ],
)
def test_a_row_is_as_expected(name: str) -> None:
    """Its level, what that promises, and nothing left."""
    measure(ROWS[name])
