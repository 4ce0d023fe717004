"""A plan's script, run by a shell without kins' supervisor: a node on which pods run, and nothing left of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from tests.harness.environment import Environment
from tests.harness.images import SHELL
from tests.scenario.cluster import PATIENCE
from tests.scenario.environments import fresh

USER = 1000
CLUSTER = "/root/.local/share/kins/clusters/default"
VARIABLES = {"KUBECONFIG": f"{CLUSTER}/kubeconfig", "KUBECACHEDIR": f"{CLUSTER}/kubectl-cache"}


@pytest.fixture(scope="module")
def environment() -> Iterator[Environment]:
    """One without a cluster."""
    with fresh("gvisor-overlay") as started:
        yield started


@pytest.mark.sandbox
@pytest.mark.xdist_group("gvisor-overlay")
def test_a_script_brings_up_a_node_and_takes_it_back(environment: Environment) -> None:
    before = environment.snapshot()
    script = environment.kins("plan").stdout
    assert environment.changes_since(before) == ""
    environment.write("/root/plan.sh", script)
    before = environment.snapshot()
    with environment.spawn(["sh", "-c", "exec sh /root/plan.sh 2>&1"]) as running:
        running.line_with("plan: ready")
        run_a_pod(environment)
        running.kill(signal.SIGINT)
        status, said = running.finish(PATIENCE)
    assert (status, said.splitlines()[-1]) == (130, "plan: undoing everything")
    assert environment.changes_since(before) == ""


@pytest.mark.sandbox
@pytest.mark.xdist_group("gvisor-overlay")
def test_a_script_of_an_ordinary_user_ends_with_its_command(environment: Environment) -> None:
    before = environment.snapshot()
    script = environment.run(["kins", "plan"], user=USER).stdout
    typed = ["sh", "-c", 'cat > ~/plan.sh; sh ~/plan.sh "$@"; status=$?; rm ~/plan.sh; exit $status', "sh"]
    ready = "kubectl wait node/kins-default --for=condition=Ready --timeout=60s"
    asked = ["sh", "-c", f"{ready} && kubectl create configmap works && exit 7"]
    done = environment.run([*typed, *asked], user=USER, text=script, timeout=PATIENCE, check=False)
    assert done.returncode == 7, done.stderr
    assert "configmap/works created" in done.stdout
    assert environment.changes_since(before) == ""


def run_a_pod(environment: Environment) -> None:
    """As a user of the script would: with an image from an archive."""
    kubectl = f"{CLUSTER}/bin/kubectl"
    engine = environment.output("readlink", kubectl).strip()
    load = [engine, "images", "load", "--address", f"{CLUSTER}/run/containerd.sock", f"/images/{SHELL.archive.name}"]
    environment.run(load)
    pod = ["run", "hello", f"--image={SHELL.name}", "--restart=Never", "--", "echo", "works"]
    environment.run([kubectl, *pod], variables=VARIABLES)
    waited = ["wait", "pod/hello", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"]
    environment.run([kubectl, *waited], variables=VARIABLES, timeout=PATIENCE)
    assert environment.run([kubectl, "logs", "hello"], variables=VARIABLES).stdout == "works\n"
