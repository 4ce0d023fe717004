"""The namespace that a watch puts its load in, and that goes with it."""

from __future__ import annotations

import contextlib
import http
import time
from collections.abc import Callable, Iterator

from kins.cluster.api import ApiClient
from kins.errors import KinsError

# One name, not a random one: the next watch finds what a killed one has left.
NAME = "kins-soak"
PATH = f"/api/v1/namespaces/{NAME}"
REQUEST_SECONDS = 10.0
POLL_SECONDS = 0.5
# The namespace's controller removes what is in it, pods with their grace included.
GONE_SECONDS = 120.0
ACCOUNT_SECONDS = 60.0


@contextlib.contextmanager
def load_namespace(client: ApiClient, wanted: bool, tell: Callable[[str], None]) -> Iterator[str]:
    """A namespace of that name, empty at first; removed at the end. Raises KinsError."""
    if not wanted:
        yield ""
        return
    _remove(client)
    status, answer = client.request(
        "POST",
        "/api/v1/namespaces",
        REQUEST_SECONDS,
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}},
    )
    if status != http.HTTPStatus.CREATED:
        raise KinsError(
            f"namespace {NAME!r} could not be made: HTTP {status}: {answer.decode(errors='replace')[:200]}",
            code="soak-namespace",
            hint="kins status",
        )
    try:
        # Without it the admission refuses pods.
        _await(client, f"{PATH}/serviceaccounts/default", http.HTTPStatus.OK, ACCOUNT_SECONDS)
        yield NAME
    finally:
        try:
            _remove(client)
        except (KinsError, OSError) as error:
            # The report of what was seen is worth more than this failure, which stands in it as a cause often enough.
            tell(f"namespace {NAME!r} is still there: {error}; kins kubectl delete namespace {NAME}")


def _remove(client: ApiClient) -> None:
    status, _ = client.request("DELETE", PATH, REQUEST_SECONDS)
    if status != http.HTTPStatus.NOT_FOUND:
        _await(client, PATH, http.HTTPStatus.NOT_FOUND, GONE_SECONDS)


def _await(client: ApiClient, path: str, wanted: int, limit: float) -> None:
    """Ask until the answer is as wanted."""
    deadline = time.monotonic() + limit
    while client.get(path, REQUEST_SECONDS)[0] != wanted:
        if time.monotonic() > deadline:
            raise KinsError(
                f"{path}: no {wanted} within {limit:g} s",
                code="soak-namespace",
                hint=f"kins kubectl describe ns {NAME}",
            )
        time.sleep(POLL_SECONDS)
