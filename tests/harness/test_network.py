"""The throw-away network, and how sandboxes take it; what an environment without user namespaces refuses."""

from __future__ import annotations

import subprocess

import pytest
from tests.harness.gvisor import Sandbox
from tests.harness.native import Native
from tests.harness.network import ADDRESS, GATEWAY, ThrowAwayNetwork
from tests.harness.rootfs import USER_ID, sandbox_tree

# The address from which the world beyond would be asked; no packet is sent (udp(7)). The trees have no ip(8).
TELL_ADDRESS = f"""
import socket
asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asked.connect(("{GATEWAY}", 9))
print(asked.getsockname()[0])
"""
THREAD = "import threading; thread = threading.Thread(target=print, args=('ran',)); thread.start(); thread.join()"


def output(*command: str) -> str:
    """What a command of the machine says."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.native
@pytest.mark.xdist_group("native")
def test_nothing_is_left_of_the_network() -> None:
    """And the machine's own links are never touched."""
    before = output("ip", "-oneline", "link")
    with ThrowAwayNetwork() as network:
        assert output("nsenter", f"--net={network.path}", "python3", "-c", TELL_ADDRESS).strip() == ADDRESS
        assert output("ip", "-oneline", "link") == before
    assert output("ip", "-oneline", "link") == before


@pytest.mark.sandbox
@pytest.mark.xdist_group("gvisor-overlay")
@pytest.mark.parametrize("kind", ["sandbox", "host"])
def test_a_sandbox_has_the_networks_address(kind: str) -> None:
    """Its own stack with that address, or the network itself."""
    with Sandbox(sandbox_tree(), network=kind) as sandbox:
        assert sandbox.output("python3", "-c", TELL_ADDRESS).strip() == ADDRESS


@pytest.mark.native
@pytest.mark.xdist_group("native")
@pytest.mark.parametrize("allowed", [True, False])
def test_user_namespaces_are_refused_alone(allowed: bool) -> None:
    """An ordinary user may make one, or not; threads and processes are made in any case."""
    with Native(sandbox_tree(), root="overlay", user_namespaces=allowed) as native:
        made = native.run(["unshare", "--user", "true"], user=USER_ID, check=False)
        assert (made.returncode == 0) == allowed
        assert native.run(["python3", "-c", THREAD], user=USER_ID).stdout == "ran\n"


@pytest.mark.native
@pytest.mark.xdist_group("native")
def test_a_read_only_kernel() -> None:
    """Neither /sys nor /proc/sys can be written, and there are no control groups."""
    with Native(sandbox_tree(), root="overlay", read_only_kernel=True) as native:
        for place in ("/proc/sys/kernel/hostname", "/sys/kernel/profiling"):
            assert "Read-only" in native.run(["sh", "-c", f"echo x > {place}"], check=False).stderr
        assert "cgroup" not in native.output("cat", "/proc/mounts")
