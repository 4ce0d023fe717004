"""Experiment 03: Docker inside the sandbox."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kins.components.containerd import PAUSE_ARCHIVE
from kins.components.layout import BINARIES, ENGINE
from kins.components.versions import pause_image
from kins.experiments.context import Context
from kins.experiments.context import run as run_command
from kins.experiments.cures import control_groups
from kins.experiments.model import Excerpt, Experiment, Findings, Measurement
from kins.experiments.needs import GVISOR, ROOT, program
from kins.experiments.worker import NAME, Worker, in_memory
from kins.soak.surroundings import FILE_SYSTEMS
from kins.sys import mounts, namespaces

START_SECONDS = 30.0
STOP_SECONDS = 20.0
# A kubelet that cannot get its root's figures ends within a second; gVisor on a busy machine takes longer.
KUBELET_SECONDS = 30.0
TRACES = ("/etc/docker", "/run/docker")
CACHE_ERROR = "unable to find data in memory cache"


@dataclass(frozen=True)
class Case:
    """A way to run Docker: `driver` empty for Docker's own choice, and where its data is."""

    name: str
    driver: str
    in_memory: bool = False


CASES = (
    Case("default", ""),
    Case("vfs", "vfs"),
    Case("overlay2", "overlay2"),
    Case("overlay2 on tmpfs", "overlay2", in_memory=True),
)


@dataclass(frozen=True)
class Outcome:
    """What became of a case: the driver that was taken, the type of a container's root, or why there is none; and
    what a kubelet in such a container ended with."""

    driver: str
    root: str
    refusal: str = ""
    kubelet: str = ""


class Docker:
    """A Docker engine with its data in a directory."""

    def __init__(self, directory: Path, case: Case) -> None:
        self.directory = directory
        self.host = f"unix://{directory}/docker.sock"
        self.log = directory / "dockerd.log"
        self._case = case
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start it; why it did not, or nothing."""
        # No bridge and no packet filter: networks are not what is asked here, and gVisor has no nftables.
        argv = ["dockerd", f"--data-root={self.directory}/data", f"--exec-root={self.directory}/exec"]
        argv += [f"--pidfile={self.directory}/docker.pid", f"--host={self.host}", "--bridge=none", "--iptables=false"]
        argv += [f"--storage-driver={self._case.driver}"] if self._case.driver else []
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            if self.call("info").returncode == 0:
                return ""
            time.sleep(0.5)
        return self.last_error()

    def last_error(self) -> str:
        """The last line of its log that is more than a note."""
        lines = self.log.read_text(errors="replace").splitlines() or ["no word"]
        telling = [line for line in lines if "level=info" not in line]
        return (telling or lines)[-1][:300]

    def call(self, *arguments: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run a command of docker."""
        return run_command(["docker", f"--host={self.host}", *arguments], timeout)

    def stop(self) -> None:
        """End it; its containers end with it."""
        if self._process is None:
            return
        containers = self.call("ps", "--all", "--quiet").stdout.split()
        if containers:
            self.call("rm", "--force", *containers)
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def run(context: Context) -> Findings:
    """Each driver, and a kubelet in a container of it."""
    worker = Worker(context)
    worker.prepare()
    context.execute([step for path in TRACES for step in in_memory(path)])
    first = refused_without_control_groups(context)
    control_groups(worker)
    worker.setup.snapshotter = "native"
    worker.start_containerd()
    outcomes = {case.name: tried(worker, case) for case in CASES}
    return judged(first, outcomes)


def judged(first: str, outcomes: dict[str, Outcome]) -> Findings:
    """What the cases come to."""
    sandbox = type_name("/")
    escaped = [name for name, outcome in outcomes.items() if outcome.root and outcome.root != sandbox]
    ran = [name for name, outcome in outcomes.items() if outcome.root]
    met = [name for name, outcome in outcomes.items() if CACHE_ERROR in outcome.kubelet]
    measurements = [
        Measurement(name="root of the sandbox", value=sandbox),
        Measurement(name="Docker without control groups", value=first or "starts"),
        Measurement(name="Docker", value=run_command(["docker", "--version"]).stdout.strip()),
    ]
    for name, outcome in outcomes.items():
        root = outcome.root or f"no container: {outcome.refusal}"
        measurements.append(Measurement(name=f"{name}: driver, root of a container", value=f"{outcome.driver}, {root}"))
        if outcome.kubelet:
            measurements.append(Measurement(name=f"{name}: kubelet in a container", value=outcome.kubelet))
    if not ran:
        return Findings(verdict="failed", conclusion="No container ran.", measurements=tuple(measurements))
    escape = f"A container's root is another file system with: {', '.join(escaped)}." if escaped else "No case escapes."
    everywhere = set(met) == set(ran)
    matter = (
        "It does not matter: a kubelet in a container ends with the cache error in each of them."
        if everywhere
        else f"A kubelet in a container met the cache error with: {', '.join(met) or 'none'}."
    )
    return Findings(
        verdict="refuted" if everywhere else "confirmed",
        conclusion=f"Containers ran with: {', '.join(ran)}. {escape} {matter}",
        measurements=tuple(measurements),
        excerpts=(Excerpt(source="Docker without control groups", lines=(first,)),) if first else (),
    )


def refused_without_control_groups(context: Context) -> str:
    """What Docker says in a sandbox as it is."""
    with started(context, CASES[0]) as (_, refusal):
        return refusal


@contextmanager
def started(context: Context, case: Case) -> Iterator[tuple[Docker, str]]:
    """A Docker engine in a directory of its own, and why it does not run, if it does not."""
    directory = context.directory / "docker"
    directory.mkdir()
    if case.in_memory:
        mounts.mount("docker", str(directory), "tmpfs")
    docker = Docker(directory, case)
    try:
        yield docker, docker.start()
    finally:
        docker.stop()
        unmount_below(directory)
        shutil.rmtree(directory)


def unmount_below(directory: Path) -> None:
    """Docker leaves mounts of its own directories behind."""
    for entry in reversed(mounts.mount_table()):
        if Path(entry.target).is_relative_to(directory):
            mounts.unmount(entry.target, lazy=True)


def tried(worker: Worker, case: Case) -> Outcome:
    """What becomes of a case."""
    worker.context.tell(f"Docker: {case.name}")
    with started(worker.context, case) as (docker, refusal):
        if refusal:
            return Outcome(case.driver or "-", "", refusal)
        driver = docker.call("info", "--format={{.Driver}}").stdout.strip()
        loaded = docker.call("load", f"--input={PAUSE_ARCHIVE}")
        if loaded.returncode != 0:
            return Outcome(driver, "", loaded.stderr.strip()[-300:])
        made = docker.call("run", "--detach", "--network=host", "--name=probe", pause_image())
        if made.returncode != 0:
            return Outcome(driver, "", made.stderr.strip()[-300:])
        pid = int(docker.call("inspect", "--format={{.State.Pid}}", "probe").stdout)
        return Outcome(driver, root_type_of(pid), kubelet=kubelet_in_container(worker, docker))


def root_type_of(pid: int) -> str:
    """The type of the root that a process of another mount namespace sees."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            namespaces.setns(os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY), namespaces.CLONE_NEWNS)
            os.write(write, type_name("/").encode())
        except OSError as error:
            os.write(write, f"unknown: {error}".encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with open(read) as told:
        return told.read()


def type_name(path: str) -> str:
    """The type of a path's file system by name."""
    kind = mounts.filesystem_type(path)
    return FILE_SYSTEMS.get(kind, f"{kind:#x}")


def kubelet_in_container(worker: Worker, docker: Docker) -> str:
    """How a stock kubelet ends whose root is a container's; nothing that its directory is on is bound from outside."""
    worker.setup.kubelet_settings["failCgroupV1"] = False
    configuration = worker.directory / "kubelet.json"
    configuration.write_text(json.dumps(worker.kubelet_configuration()))
    binds = [(str(BINARIES), str(BINARIES)), (str(worker.directory), str(worker.directory)), ("/dev/null", "/dev/kmsg")]
    binds += [(worker.files.certificate("ca"), worker.files.certificate("ca"))]
    # The image holds one program; the kubelet looks for its user.
    accounts = worker.directory / "passwd"
    accounts.write_text("root:x:0:0::/root:/bin/sh\n")
    binds += [(str(accounts), "/etc/passwd")]
    arguments = ["run", "--rm", "--network=host", "--pid=host", "--privileged", "--user=0", f"--entrypoint={ENGINE}"]
    arguments += [f"--volume={source}:{target}" for source, target in binds]
    arguments += [pause_image(), "kubelet", f"--config={configuration}", f"--hostname-override={NAME}"]
    arguments += [f"--kubeconfig={worker.directory / 'kubeconfig'}", "--root-dir=/var/lib/kubelet"]
    try:
        done = docker.call(*arguments, timeout=KUBELET_SECONDS)
    except subprocess.TimeoutExpired:
        return f"it still runs after {KUBELET_SECONDS:g} s"
    return ending(done.stderr.splitlines())


def ending(lines: Sequence[str]) -> str:
    """The error that a kubelet ended with."""
    errors = [line for line in lines if line[:1] == "E"] or list(lines) or ["no word"]
    fatal = [line for line in errors if "Failed to start ContainerManager" in line or "command failed" in line]
    return (fatal or errors)[-1][:300]


EXPERIMENT = Experiment(
    number="03",
    name="docker-inside",
    title="Docker inside the sandbox",
    hypothesis="In a Docker container whose root is not the sandbox's own type of file system, a kubelet does not "
    "meet the cache error.",
    method="Debian's Docker engine runs in the sandbox with the storage driver that it chooses itself, with vfs, "
    "with overlay2, and with overlay2 on tmpfs. The type of a container's root is asked from within its mount "
    "namespace. A stock kubelet is started in such a container, with what stops it earlier (experiment 02) out of "
    "the way.",
    reported="The default driver and vfs left containers on 9p, overlay2 could not be mounted there, and k3s in a "
    "container met the same error.",
    run=run,
    needs=(ROOT, GVISOR, program("dockerd", "docker.io"), program("docker", "docker.io")),
)
