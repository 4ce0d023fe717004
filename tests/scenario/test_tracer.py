"""The tracer itself: the engine's tests of it inside gVisor, a program that stresses it, and a container under it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import BUILD, ROOT
from tests.harness.environment import Environment
from tests.harness.gvisor import Sandbox
from tests.harness.native import Native
from tests.harness.rootfs import sandbox_tree

pytestmark = pytest.mark.one_root("overlay")

# The flags of the engine's build, so that its compiled packages are found in Go's cache.
GO_FLAGS = ["-trimpath", "-tags", "grpcnotrace,notest,netgo,osusergo"]
PACKAGE = "./internal/intercept"

# Where things are bound inside.
TRIALS = "/opt/trials"
PROGRAMS = "/opt/programs"
TRACER = f"{PROGRAMS}/kins-intercept"

STRESS_SECONDS = 20

GVISOR = pytest.param("gvisor", marks=[pytest.mark.sandbox, pytest.mark.xdist_group("gvisor-overlay")])
NATIVE = pytest.param("native", marks=[pytest.mark.native, pytest.mark.xdist_group("native")])

# gVisor's control groups, which runc asks for.
CONTROL_GROUPS = """
set -eu
mount -t tmpfs tmpfs /sys/fs/cgroup
for controller in cpu cpuacct cpuset devices memory pids; do
    mkdir /sys/fs/cgroup/$controller
    mount -t cgroup -o $controller cgroup /sys/fs/cgroup/$controller
done
"""

# Prints what a program sees that rules could change: a file, the release, the type of the root file system.
LOOK = "cat /redirected/file; uname -r; stat -f -c %T /"

RULES = {
    "version": 1,
    "rules": [
        {"redirect": {"from": "/redirected", "to": "/target"}},
        {"statfs": {"mount": "/", "type": 0x6969}},
        {"uname": {"release": "6.1.0-kins"}},
    ],
}


@pytest.fixture(scope="session")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine's tests and the stressing program as static programs, and the programs in C that the tests run."""
    directory = tmp_path_factory.mktemp("trials")
    go = BUILD / "toolchain" / "bin" / "go"
    build = {"env": {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}, "cwd": ROOT / "engine"}
    for command in (
        [go, "test", "-c", *GO_FLAGS, "-o", directory / "intercept.test", PACKAGE],
        [go, "build", *GO_FLAGS, "-o", directory / "stress", f"{PACKAGE}/stress"],
        [ROOT / "engine" / "internal" / "intercept" / "testdata" / "compile", directory],
    ):
        subprocess.run(command, check=True, **build)
    return directory


@pytest.fixture
def place(request: pytest.FixtureRequest, trials: Path) -> Iterator[Environment]:
    """A fresh environment with these programs and those of the wheel."""
    binds = {trials: TRIALS, ROOT / "src" / "kins" / "_bin": PROGRAMS}
    kind = Sandbox if request.param == "gvisor" else Native
    with kind(sandbox_tree(), binds=binds) as started:
        yield started


@pytest.mark.timeout(300)
@pytest.mark.parametrize("place", [GVISOR], indirect=True)
def test_the_tracer_in_gvisor(place: Environment) -> None:
    """`go test` runs the same natively."""
    done = place.run(
        [f"{TRIALS}/intercept.test", "-test.v", "-test.timeout=200s"],
        variables={"KINS_INTERCEPT_PROGRAMS": TRIALS},
        timeout=210,
    )
    assert done.stdout.count("--- PASS") > 40, done.stdout


@pytest.mark.parametrize("place", [NATIVE, GVISOR], indirect=True)
def test_no_wrong_answer_under_stress(place: Environment) -> None:
    place.run([f"{TRIALS}/stress", "-prepare", "/tmp/stress"])
    stress = [f"{TRIALS}/stress", "-directory", "/tmp/stress", "-seconds", str(STRESS_SECONDS)]
    done = place.run([TRACER, "--rules", "/tmp/stress/rules.json", "--", *stress], timeout=STRESS_SECONDS + 60)
    counts = json.loads(done.stdout)
    assert counts["wrong"] == 0, counts
    assert min(counts[kind] for kind in ("plain", "redirected", "children")) > STRESS_SECONDS, counts


def bundle(place: Environment) -> str:
    """A bundle of runc that shares the environment's programs, but has files, and so answers, of its own."""
    specification = {
        "ociVersion": "1.0.0",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["sh", "-c", LOOK],
            "cwd": "/",
            "env": ["PATH=/usr/bin:/bin"],
            "noNewPrivileges": True,
        },
        "root": {"path": "root"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            *(
                {"destination": directory, "type": "bind", "source": directory, "options": ["rbind", "ro"]}
                for directory in ("/usr", "/bin", "/lib", "/lib64")
            ),
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
            # With a filter of its own, as every pod has one.
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}],
            },
        },
    }
    place.run(["sh", "-euc", "mkdir -p /tmp/bundle/root && mount -t tmpfs tmpfs /tmp/bundle/root"])
    place.run(["sh", "-euc", "cd /tmp/bundle/root && mkdir redirected proc && echo container > redirected/file"])
    place.write("/tmp/bundle/config.json", json.dumps(specification))
    return "/tmp/bundle"


@pytest.mark.parametrize("place", [NATIVE, GVISOR], indirect=True)
def test_rules_end_at_a_container(place: Environment) -> None:
    if place.on_gvisor:
        place.run(["sh", "-c", CONTROL_GROUPS])
    place.run(["sh", "-euc", "mkdir /target && echo redirected > /target/file"])
    place.write("/tmp/rules.json", json.dumps(RULES))
    traced = [TRACER, "--rules", "/tmp/rules.json", "--"]
    assert place.run([*traced, "sh", "-c", LOOK]).stdout.split() == ["redirected", "6.1.0-kins", "nfs"]
    run = [f"{PROGRAMS}/runc", "--root", "/tmp/runc", "run", "--bundle", bundle(place), "container"]
    seen = place.run([*traced, *run]).stdout.split()
    assert seen == ["container", os.uname().release if not place.on_gvisor else seen[1], "tmpfs"]
    assert seen[1] != "6.1.0-kins"


def test_the_stress_finds_wrong_answers(trials: Path, tmp_path: Path) -> None:
    """Without its rules every redirected file is missing."""
    stress = trials / "stress"
    subprocess.run([stress, "-prepare", tmp_path], check=True)
    done = subprocess.run(
        [stress, "-directory", tmp_path, "-seconds", "0.2"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["wrong"] > 0
    shutil.rmtree(tmp_path)
