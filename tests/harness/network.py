"""A network namespace to throw away: what a sandbox with a network gets, so that the machine's own is never touched."""

from __future__ import annotations

import subprocess
from types import TracebackType
from typing import Self

# Of the sandbox, and of the machine beyond it (TEST-NET-1 of RFC 5737: nobody's).
ADDRESS, GATEWAY = "192.0.2.2", "192.0.2.1"
LINK = "eth0"


class ThrowAwayNetwork:
    """From `with` to the end of the block: loopback, and a link with an address and a default route."""

    def __init__(self) -> None:
        self._holders: list[subprocess.Popen[str]] = []

    @property
    def path(self) -> str:
        """The namespace as a file, as runsc and nsenter(1) take it."""
        return f"/proc/{self._holders[0].pid}/ns/net"

    def __enter__(self) -> Self:
        try:
            near, far = self._hold(), self._hold()
            link = f"ip link add {LINK} netns {near} type veth peer name far netns {far}"
            # Without an address that the kernel makes by itself, a second later, and that looks like somebody's change.
            self._run(near, f"{link} && ip link set {LINK} addrgenmode none")
            self._run(near, f"ip addr add {ADDRESS}/24 dev {LINK} && ip link set {LINK} up")
            self._run(far, f"ip addr add {GATEWAY}/24 dev far && ip link set far up")
            self._run(near, f"ip route add default via {GATEWAY} dev {LINK}")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """The namespaces go with their last process, and with them all links."""
        for holder in self._holders:
            holder.kill()
            holder.wait()
            assert holder.stdout is not None
            holder.stdout.close()
        self._holders.clear()

    def _hold(self) -> int:
        """A new namespace with loopback; the pid of the process that keeps it."""
        script = "ip link set lo up && echo held && exec sleep infinity"
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", script]
        holder = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self._holders.append(holder)
        assert holder.stdout is not None
        if holder.stdout.readline() != "held\n":
            raise RuntimeError("no network namespace could be made")
        return holder.pid

    def _run(self, holder: int, script: str) -> None:
        enter = ["nsenter", f"--net=/proc/{holder}/ns/net", "sh", "-c", script]
        subprocess.run(enter, check=True, capture_output=True, text=True, timeout=30)
