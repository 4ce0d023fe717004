"""A user namespace with a range of ids, and the processes of a node that lives in one: real ones, of this machine."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.test_outside import ask

from kins.sys import mounts, namespaces, process, user_namespaces

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mapping a range of ids needs root")
NOBODY = 65534

# What the process outside prints, and then, in its turn, the one inside.
ENTERING = """
import os, sys
from pathlib import Path
from kins.cluster import user_namespace
lifeline = user_namespace.enter("inner", lambda pid: print("announced", pid, flush=True), Path(sys.argv[1]))
print("inside", os.getpid(), os.uname().nodename, flush=True)
print("alone", lifeline.recv(1), flush=True)
"""


def test_a_range_of_ids_is_mapped(tmp_path: Path) -> None:
    """As images need it: files of many owners, and processes that become them."""
    file = tmp_path / "file"
    file.write_text("")

    def use() -> None:
        os.chown(file, 101, NOBODY)
        assert Path("/proc/self/uid_map").read_text().split() == ["0", "0", str(user_namespaces.IDENTITIES)]
        assert process.has_capability(process.CAP_SYS_ADMIN)
        os.setgroups([42])
        os.setuid(101)

    user_namespaces.run(use)
    assert (file.stat().st_uid, file.stat().st_gid) == (101, NOBODY)


def test_what_fails_inside_comes_out() -> None:
    def fail() -> None:
        mounts.mount("nothing", "/nowhere", "tmpfs")

    with pytest.raises(FileNotFoundError):
        user_namespaces.run(fail, namespaces.CLONE_NEWNS)


def test_mounts_inside_are_seen_nowhere_else(tmp_path: Path) -> None:
    def cover() -> None:
        mounts.mount("tmpfs", str(tmp_path), "tmpfs")
        (tmp_path / "unseen").write_text("")

    user_namespaces.run_with_private_mounts(cover)
    assert list(tmp_path.iterdir()) == []


# As an ordinary user: what is closed to that user outside is not to root inside.
BECOMING_ROOT = """
import ctypes, os, shutil, sys
from functools import partial
from pathlib import Path
from kins.sys import user_namespaces
os.setgid(65534)
os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE, as for a process that was this user from its start
place = Path(sys.argv[1]) / "place"
(place / "closed" / "file").mkdir(parents=True)
(place / "closed").chmod(0)
user_namespaces.run(lambda: print(Path("/proc/self/uid_map").read_text().split(), os.getuid(), os.getgid(), flush=True))
user_namespaces.run(partial(shutil.rmtree, place))
"""


def test_who_may_map_no_range_is_root_over_what_is_their_own(open_path: Path) -> None:
    open_path.chmod(0o777)
    command = [sys.executable, "-c", BECOMING_ROOT, str(open_path)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert said.stdout == f"{['0', str(NOBODY), '1']} 0 0\n"
    assert list(open_path.iterdir()) == []


def test_one_mapped_id_is_not_enough_for_images(tmp_path: Path) -> None:
    """Why nobody without that right gets a node: the kernel's own word on a file of a second owner."""
    file = tmp_path / "file"
    file.write_text("")
    command = ["unshare", "--user", "--map-root-user", "chown", "101", str(file)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode != 0
    assert "Invalid argument" in said.stderr


@pytest.fixture
def entering(tmp_path: Path) -> subprocess.Popen[str]:
    """The process outside; its output ends with the one inside."""
    command = [sys.executable, "-c", ENTERING, str(tmp_path / "outside.sock")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def line(running: subprocess.Popen[str], word: str) -> list[str]:
    """The next line, which begins with this word; returns the others."""
    assert running.stdout is not None
    first, *found = running.stdout.readline().split()
    assert first == word
    return found


def test_the_node_hears_of_the_death_of_whoever_stays_outside(entering: subprocess.Popen[str]) -> None:
    with entering:
        (first,) = line(entering, "announced")
        assert line(entering, "inside") == ["1", "inner"]
        ends = os.pidfd_open(int(first))
        entering.kill()
        assert line(entering, "alone") == ["b''"]
        assert entering.stdout is not None
        assert entering.stdout.read() == ""
        assert select.select([ends], [], [], 30)[0], "it lives on"
        os.close(ends)


def test_whoever_stays_outside_serves_as_long_as_the_node_lives(
    entering: subprocess.Popen[str], tmp_path: Path
) -> None:
    with entering, socket.create_server(("127.0.0.1", 0)) as server:
        (first,) = line(entering, "announced")
        line(entering, "inside")
        said, given = ask(tmp_path / "outside.sock", f"tcp4 127.0.0.1:{server.getsockname()[1]}")
        assert said == "ok"
        assert given is not None
        given.close()
        assert Path(f"/proc/{entering.pid}/comm").read_text() == "kins-outside\n"
        os.kill(int(first), 9)
        assert entering.wait(10) == 0


@pytest.mark.parametrize("own_network", [True, False])
def test_a_command_as_the_first_process(tmp_path: Path, *, own_network: bool) -> None:
    """As the scripts of `kins plan` do it."""
    sockets = [str(tmp_path / "run" / "outside.sock")] if own_network else []
    module = [sys.executable, "-m", "kins.cluster.user_namespace", *sockets, "--"]
    command = ["sh", "-c", "echo $$; readlink /proc/self/ns/net; cat /proc/net/dev"]
    said = subprocess.run([*module, *command], stdout=subprocess.PIPE, text=True, check=True, timeout=30)
    first, network, *links = said.stdout.splitlines()
    assert first == "1"
    assert (network != os.readlink("/proc/self/ns/net")) == own_network
    if own_network:
        assert [line.split(":")[0].strip() for line in links if ":" in line] == ["lo"]


STAYING = """
import os
from kins.cluster import user_namespace
network = os.readlink("/proc/self/ns/net")
lifeline = user_namespace.enter("inner", lambda pid: print("announced", pid, flush=True), None)
print("inside", os.getpid(), lifeline, os.readlink("/proc/self/ns/net") == network, flush=True)
"""


def test_nobody_stays_outside_of_a_node_with_the_sandboxs_network() -> None:
    said = subprocess.run([sys.executable, "-c", STAYING], stdout=subprocess.PIPE, text=True, check=True, timeout=30)
    announced, inside = said.stdout.splitlines()
    assert announced.startswith("announced ")
    assert inside == "inside 1 None True"
