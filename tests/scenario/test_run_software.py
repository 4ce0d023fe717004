"""Other people's node software in the prepared environment: Debian's Docker, and a stock kubelet with Debian's
containerd and runc."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.harness.environment import Environment, image_binds
from tests.harness.gvisor import Sandbox
from tests.harness.images import SHELL, image_archives
from tests.harness.native import Native
from tests.harness.rootfs import USER_ID, docker_tree, sandbox_tree
from tests.harness.wheel import ENVIRONMENT, kins_tree
from tests.scenario.environments import ENVIRONMENTS

pytestmark = pytest.mark.software

PATIENCE = 240.0
# What the software writes outside of its data directories stays: configuration, and the scripts' logs.
IGNORED = tuple(
    f"files: {place}*"
    for place in ("/tmp", "/etc/cni", "/etc/docker", "/opt", "/root/.docker", "/usr/libexec/kubernetes")
)
# Waits for a command that must succeed at last; `try N COMMAND` in the scripts.
TRY = 'try() { left=$1; shift; until "$@" > /dev/null 2>&1; do left=$((left-1)); [ $left -gt 0 ]; sleep 0.3; done; }'

DOCKER = """
dockerd --storage-driver=$DRIVER --bridge=none --iptables=false --ip6tables=false > /tmp/docker.log 2>&1 &
engine=$!
try 200 docker info || { tail /tmp/docker.log >&2; exit 1; }
docker info --format '{{.Driver}}'
docker load --quiet --input $ARCHIVE
docker run --rm --network=host $IMAGE sh -c 'echo from a container'
docker run --rm --network=none --memory=64m $IMAGE sh -c 'exit 3' 2> /dev/null || echo status $?
# In order: killed, it would leave its socket and its pid file in /run.
kill $engine
wait $engine || true
"""

# docs/how-to/run.md has this configuration for its readers.
CONTAINERD = """
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      NoNewKeyring = true
"""
KUBELET = """
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
staticPodPath: /tmp/static
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
enableControllerAttachDetach: false
address: 127.0.0.1
readOnlyPort: 10255
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
evictionHard: {memory.available: 100Mi, nodefs.available: 0%, imagefs.available: 0%}
"""
# On the node's network: there is no plugin for another.
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: hello}}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: {image}
    imagePullPolicy: Never
    command: [sh, -c, "mount | grep /scratch; exec sleep 1000"]
    volumeMounts: [{{name: scratch, mountPath: /scratch}}]
  volumes: [{{name: scratch, emptyDir: {{medium: Memory}}}}]
"""
NODE = """
containerd --config /tmp/containerd.toml > /tmp/containerd.log 2>&1 &
try 100 ctr version
for each in $PAUSE_ARCHIVE $ARCHIVE; do
  ctr --namespace k8s.io images import --snapshotter $SNAPSHOTTER $each > /dev/null
done
$ENGINE kubelet --config=/tmp/kubelet.yaml > /tmp/kubelet.log 2>&1 &
try 400 grep -rq /scratch /var/log/pods || { tail -n 20 /tmp/kubelet.log >&2; exit 1; }
try 100 curl --fail --silent http://127.0.0.1:10255/stats/summary --output /tmp/stats
grep -q '"name": "pods"' /tmp/stats
ctr --namespace k8s.io tasks ls --quiet | wc -l
rm /tmp/static/pod.yaml
try 200 sh -c '! ctr --namespace k8s.io tasks ls --quiet | grep -q .'
echo gone
"""
WRITE_PATHS = """
from kins.components.containerd import PAUSE_ARCHIVE
from kins.components.layout import ENGINE
from kins.components.versions import pause_image
print(ENGINE, PAUSE_ARCHIVE, pause_image())
"""


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """A machine or a sandbox with Debian's software, whose root has all capabilities."""
    yield from with_software(request.param, "all")


@pytest.fixture(scope="module", params=["native", "gvisor-9p"])
def unprivileged(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """The same where root has those that Docker gives."""
    yield from with_software(request.param, "docker")


def with_software(kind: str, capabilities: str) -> Iterator[Environment]:
    """Debian's Docker brings containerd and runc; kins is bound, as its tree is."""
    binds = {**image_binds(image_archives()), kins_tree() / ENVIRONMENT.lstrip("/"): ENVIRONMENT}
    tree = docker_tree(sandbox_tree())
    made = (
        Native(tree, binds=binds, capabilities=capabilities)
        if kind == "native"
        else Sandbox(tree, root=kind.partition("-")[2], binds=binds, capabilities=capabilities)
    )
    with made as started:
        started.run(["ln", "-s", f"{ENVIRONMENT}/bin/kins", "/usr/local/bin/kins"])
        yield started


def run(environment: Environment, script: str, *options: str, user: int = 0, **variables: str) -> list[str]:
    """The lines that a script writes in the prepared environment, of which nothing is left."""
    before = environment.snapshot()
    named = {"ARCHIVE": f"/images/{SHELL.archive.name}", "IMAGE": SHELL.name, **variables}
    command = ["kins", "run", *options, "--", "sh", "-euc", f"{TRY}\n{script}exit 7"]
    done = environment.run(command, user=user, variables=named, timeout=PATIENCE, check=False)
    assert done.returncode == 7, f"{done.stdout}{done.stderr}"
    assert environment.changes_since(before, ignoring=IGNORED) == ""
    return done.stdout.splitlines()


def test_docker(environment: Environment) -> None:
    assert run_docker(environment, "overlay2") == ["from a container", "status 3"]


def test_docker_in_a_user_namespace(unprivileged: Environment) -> None:
    assert run_docker(unprivileged, "vfs") == ["from a container", "status 3"]


def run_docker(environment: Environment, driver: str) -> list[str]:
    """What Docker's containers say, with this storage driver."""
    first, _, *said = run(environment, DOCKER, "--no-intercept", DRIVER=driver)
    assert first == driver
    return said


def test_a_stock_kubelet_with_debians_runtime(environment: Environment) -> None:
    """A static pod runs with a volume of memory, its figures are there, and it goes."""
    assert run_node(environment, "overlayfs") == ["2", "gone"]


@pytest.mark.parametrize("user", [pytest.param(0, id="root"), pytest.param(USER_ID, id="user")])
def test_a_stock_kubelet_in_a_user_namespace(unprivileged: Environment, user: int) -> None:
    """The same, where nobody may mount anything in the sandbox itself."""
    assert run_node(unprivileged, "native", user) == ["2", "gone"]


def run_node(environment: Environment, snapshotter: str, user: int = 0) -> list[str]:
    """What the script of the node says."""
    engine, archive, pause = environment.output(f"{ENVIRONMENT}/bin/python", "-c", WRITE_PATHS).split()
    environment.run(["rm", "-rf", "/tmp/static", "/tmp/kubelet.log", "/tmp/containerd.log", "/tmp/stats"])
    environment.run(["mkdir", "-p", "/tmp/static"], user=user)
    environment.write("/tmp/containerd.toml", CONTAINERD.format(pause=pause, snapshotter=snapshotter))
    environment.write("/tmp/kubelet.yaml", KUBELET)
    environment.write("/tmp/static/pod.yaml", POD.format(image=SHELL.name))
    paths = {"ENGINE": engine, "PAUSE_ARCHIVE": archive, "SNAPSHOTTER": snapshotter}
    return run(environment, NODE, user=user, **paths)
