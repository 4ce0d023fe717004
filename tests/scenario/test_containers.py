"""The life of a pod's containers: order, ends, restarts."""

from __future__ import annotations

import pytest
from tests.scenario.cluster import Cluster, Object
from tests.scenario.manifests import container, pod, script

pytestmark = pytest.mark.one_root("9p")

SHARED: Object = {"volumes": [{"name": "shared", "emptyDir": {}}]}
MOUNTED: Object = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}


def ends(pod: Object) -> dict[str, Object]:
    """How the containers of a pod ended, by their names."""
    return {status["name"]: status["state"]["terminated"] for status in pod["status"]["containerStatuses"]}


def test_init_and_sidecar_containers(cluster: Cluster) -> None:
    """Before the main one, in order; a sidecar from then on, and it ends after the main one."""
    sidecar = script(
        "trap 'echo told to end; cat /shared/order; exit 0' TERM; echo sidecar >> /shared/order; sleep infinity & wait",
        name="sidecar",
        restartPolicy="Always",
        startupProbe={"exec": {"command": ["grep", "sidecar", "/shared/order"]}, "periodSeconds": 1},
        **MOUNTED,
    )
    first = script("echo first >> /shared/order", name="first", **MOUNTED)
    last = script("echo last >> /shared/order", name="last", **MOUNTED)
    main = script("echo main >> /shared/order; cat /shared/order", **MOUNTED)
    # The sidecar must have the time to say its word.
    cluster.apply(
        pod(
            "ordered",
            main,
            initContainers=[first, sidecar, last],
            restartPolicy="Never",
            terminationGracePeriodSeconds=30,
            **SHARED,
        )
    )
    cluster.phase("Succeeded", "ordered")
    order = ["first", "sidecar", "last", "main"]
    assert cluster.logs("ordered", "--container=main").split() == order
    assert cluster.logs("ordered", "--container=sidecar").splitlines() == ["told to end", *order]


def test_a_failing_init_container(cluster: Cluster) -> None:
    """Ends the pod before its main container starts."""
    cluster.apply(pod("failing", initContainers=[script("exit 3", name="init")], restartPolicy="Never"))
    cluster.phase("Failed", "failing")
    status = cluster.json("pod/failing")["status"]
    assert status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
    assert status["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"


def test_exit_codes(cluster: Cluster) -> None:
    """As the containers' processes ended; the last words of one too."""
    cluster.apply(
        pod(
            "ending",
            script("exit 0", name="good"),
            script("echo because > /dev/termination-log; exit 7", name="bad"),
            container("/absent", name="absent"),
            restartPolicy="Never",
        )
    )
    cluster.phase("Failed", "ending")
    ended = ends(cluster.json("pod/ending"))
    assert (ended["good"]["exitCode"], ended["good"]["reason"]) == (0, "Completed")
    assert (ended["bad"]["exitCode"], ended["bad"]["reason"]) == (7, "Error")
    assert ended["bad"]["message"] == "because\n"
    assert (ended["absent"]["exitCode"], ended["absent"]["reason"]) == (128, "StartError")


def test_graceful_termination(cluster: Cluster) -> None:
    """First the hook, then SIGTERM; what has not ended when the grace is over is killed."""
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook > /proc/1/fd/1"]}}}
    polite = script(
        "trap 'echo told to end; exit 5' TERM; echo started; sleep infinity & wait", name="polite", lifecycle=hook
    )
    stubborn = script("trap '' TERM; echo started; sleep infinity & wait", name="stubborn")
    # The pod's last state stays to be seen until the finalizer is taken away.
    cluster.apply(
        pod("leaving", polite, stubborn, metadata={"finalizers": ["kins.test/seen"]}, terminationGracePeriodSeconds=3)
    )
    cluster.ready("leaving")
    with cluster.spawn("logs", "--follow", "leaving", "--container=polite") as logs:
        logs.line_with("started")
        cluster.kubectl("delete", "pod/leaving", "--wait=false")
        assert logs.finish(timeout=60) == (0, "hook\ntold to end\n")
    cluster.wait("pod/leaving", "jsonpath={.status.containerStatuses[1].state.terminated}")
    ended = ends(cluster.json("pod/leaving"))
    assert (ended["polite"]["exitCode"], ended["stubborn"]["exitCode"]) == (5, 137)
    cluster.kubectl("patch", "pod/leaving", "--type=merge", '--patch={"metadata": {"finalizers": null}}')
    cluster.wait("pod/leaving", "delete")


def test_restart_policies(cluster: Cluster) -> None:
    """Always and at once, then with back-off; after a failure only; never."""
    # Fails at first, and not again.
    stumble = script("[ -e /shared/stumbled ] || { touch /shared/stumbled; exit 1; }", **MOUNTED)
    cluster.apply(
        pod("always", script("exit 0")),
        pod("on-failure", stumble, restartPolicy="OnFailure", **SHARED),
        pod("never", script("exit 1"), restartPolicy="Never"),
    )
    cluster.phase("Succeeded", "on-failure")
    cluster.phase("Failed", "never")
    restarts = {
        name: cluster.json(f"pod/{name}")["status"]["containerStatuses"][0]["restartCount"]
        for name in ("on-failure", "never")
    }
    assert restarts == {"on-failure": 1, "never": 0}
    cluster.wait("pod/always", "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff")
    (again,) = cluster.json("pod/always")["status"]["containerStatuses"]
    assert again["restartCount"] >= 1
    assert again["lastState"]["terminated"]["exitCode"] == 0
