"""Experiment 01: a control plane without a node."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from kins.cluster.cluster import Cluster
from kins.cluster.spec import ClusterSpec
from kins.errors import KinsError
from kins.experiments.context import Context, Timed, timed
from kins.experiments.context import run as run_command
from kins.experiments.model import Excerpt, Experiment, Findings, Measurement
from kins.experiments.plots import keep_plots
from kins.soak.document import facts
from kins.soak.watch import SoakSpec, soak

NAME = "experiment"
CHART = Path(__file__).parent / "chart"
RELEASE = "web"
# What the chart brings.
OBJECTS = "deployment,service,configmap,ingress,horizontalpodautoscaler,cronjob,serviceaccount,role,rolebinding"
KINDS = len(OBJECTS.split(","))
# Deployments in a day of somebody who develops a chart: one every five minutes for eight hours.
DEPLOYMENTS_A_DAY = 96
# Starts of pods an hour, three for each Deployment: as much as a day's work in less than a minute and a half.
CHURN = 12_000.0

CRD = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: greetings.example.com
spec:
  group: example.com
  names: {kind: Greeting, plural: greetings, singular: greeting}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties:
                words: {type: integer, minimum: 1}
"""
GREETING = "apiVersion: example.com/v1\nkind: Greeting\nmetadata: {name: hello}\nspec: {words: %d}\n"

# What somebody does with kubectl and no node: name, arguments, what stands in the answer.
WORKFLOWS = (
    ("api-resources", ["api-resources"], "deployments"),
    ("explain", ["explain", "deployment.spec.strategy"], "RollingUpdate"),
    ("create deployment", ["create", "deployment", "one", "--image=one:1", "--replicas=2"], "created"),
    ("pods are made", ["wait", "--for=jsonpath={.status.replicas}=2", "deployment/one", "--timeout=30s"], "met"),
    ("scale", ["scale", "deployment/one", "--replicas=5"], "scaled"),
    ("set image", ["set", "image", "deployment/one", "one=one:2"], "updated"),
    ("rollout history", ["rollout", "history", "deployment/one"], "REVISION"),
    ("rollout undo", ["rollout", "undo", "deployment/one"], "rolled back"),
    ("patch", ["patch", "deployment/one", "--patch", '{"spec":{"paused":true}}'], "patched"),
    ("label", ["label", "deployment/one", "tier=web"], "labeled"),
    ("select by label", ["get", "deployments", "--selector=tier=web"], "one"),
    ("expose", ["expose", "deployment/one", "--port=80"], "exposed"),
    ("config map", ["create", "configmap", "settings", "--from-literal=a=b"], "created"),
    ("secret", ["create", "secret", "generic", "password", "--from-literal=a=b"], "created"),
    ("dry run on the server", ["create", "job", "two", "--image=two", "--dry-run=server", "-o", "yaml"], "uid:"),
    ("may I", ["auth", "can-i", "create", "pods"], "yes"),
    ("may a service account", ["auth", "can-i", "get", "pods", "--as=system:serviceaccount:default:default"], "no"),
    ("events", ["get", "events"], "FailedScheduling"),
    ("delete", ["delete", "deployment/one", "service/one", "--cascade=foreground", "--timeout=60s"], "deleted"),
    ("namespace", ["create", "namespace", "other"], "created"),
    ("delete namespace", ["delete", "namespace", "other", "--timeout=60s"], "deleted"),
)


def run(context: Context) -> Findings:
    """A chart, kubectl's workflows, and days of work in minutes."""
    began = time.monotonic()
    cluster, _ = Cluster.up(ClusterSpec(name=NAME, level="control-plane"))
    context.undoing.callback(cluster.down)
    ready = time.monotonic() - began
    context.tell(f"control plane ready after {ready:.1f} s")
    chart = install_chart(context)
    outcomes = [(name, *workflow(arguments, wanted)) for name, arguments, wanted in WORKFLOWS]
    outcomes.append(("custom resource", *custom_resource()))
    failed = [name for name, well, _ in outcomes if not well]
    context.tell(f"{len(outcomes) - len(failed)} of {len(outcomes)} workflows went well")
    observed = soak(SoakSpec(name=NAME, seconds=60 * context.minutes, churn=CHURN), context.tell)
    keep_plots(context, observed)
    report = observed.report
    assert report.churn is not None, "a load was asked for"
    days = report.churn.units / DEPLOYMENTS_A_DAY
    well = not failed and report.healthy
    slowest = max(outcomes, key=lambda outcome: outcome[2].seconds)
    measurements = [
        Measurement(name="control plane ready after", value=f"{ready:.1f} s"),
        Measurement(name="chart", value=chart),
        Measurement(name="workflows", value=f"{len(outcomes) - len(failed)} of {len(outcomes)} went well"),
        Measurement(name="slowest workflow", value=f"{slowest[0]}: {slowest[2].seconds:.1f} s"),
        Measurement(
            name="life simulated",
            value=f"{report.churn.units} Deployments, {days:.1f} days of {DEPLOYMENTS_A_DAY} each",
        ),
        *(Measurement(name=f"watch: {name}", value=value) for name, value in facts(report)),
    ]
    excerpts = [Excerpt(source=name, lines=tail(how)) for name, well, how in outcomes if not well]
    return Findings(
        verdict="confirmed" if well else "refuted",
        conclusion=f"A control plane was there after {ready:.1f} s, took a chart and {len(outcomes) - len(failed)} "
        f"of {len(outcomes)} workflows of kubectl, and "
        f"{'stayed healthy' if report.healthy else 'did not stay healthy'} through the load of {days:.1f} working "
        "days.",
        measurements=tuple(measurements),
        excerpts=tuple(excerpts),
        soak=report,
    )


def install_chart(context: Context) -> str:
    """Install the chart with helm if it is there, else its manifests with kubectl; how that went."""
    began = time.monotonic()
    if has_helm():
        kubeconfig = f"--kubeconfig={Cluster(NAME).kubeconfig}"
        done = timed(["helm", "install", RELEASE, str(CHART), kubeconfig]).done
        with_what = "helm"
    else:
        done = kubectl(["apply", "--filename=-"], rendered()).done
        with_what = "kubectl apply (there is no helm on the path)"
    if done.returncode != 0:
        raise KinsError(f"the chart was refused: {done.stderr.strip()}", code="experiment-failed")
    found = json.loads(kubectl(["get", OBJECTS, "--output=json"]).done.stdout)["items"]
    ours = {each["kind"] for each in found if each["metadata"]["name"] == RELEASE}
    return f"{len(ours)} of {KINDS} kinds of objects by {with_what} in {time.monotonic() - began:.1f} s"


def has_helm() -> bool:
    """Whether there is a helm that runs."""
    try:
        return run_command(["helm", "version"]).returncode == 0
    except OSError:
        return False


def rendered() -> str:
    """The chart's manifests; the name of the release is all that stands in them to be filled in."""
    texts = [path.read_text().rstrip() for path in sorted((CHART / "templates").iterdir())]
    return "\n---\n".join(texts).replace("{{ .Release.Name }}", RELEASE) + "\n"


def workflow(arguments: list[str], wanted: str) -> tuple[bool, Timed]:
    """Whether a command of kubectl says what it should. `can-i` ends with 1 when it says no."""
    how = kubectl(arguments)
    return wanted in how.done.stdout, how


def custom_resource() -> tuple[bool, Timed]:
    """Whether a custom resource is served, kept and validated."""
    kubectl(["apply", "--filename=-"], CRD)
    kubectl(["wait", "--for=condition=Established", "crd/greetings.example.com", "--timeout=30s"])
    good, bad = (kubectl(["apply", "--filename=-"], GREETING % words) for words in (2, 0))
    return good.done.returncode == 0 and bad.done.returncode != 0, good


def kubectl(arguments: list[str], text: str = "") -> Timed:
    """Run the bundled kubectl on the cluster."""
    program, argv, environment = Cluster(NAME).kubectl(arguments)
    began = time.monotonic()
    done = subprocess.run(
        argv, executable=program, env=environment, input=text, capture_output=True, text=True, check=False, timeout=120
    )
    return Timed(done, time.monotonic() - began)


def tail(how: Timed) -> tuple[str, ...]:
    """The last lines of what a command said."""
    return tuple((how.done.stdout + how.done.stderr).splitlines()[-5:])


EXPERIMENT = Experiment(
    number="01",
    name="control-plane",
    title="A control plane without a node",
    hypothesis="Without a node, a control plane in gVisor is complete and stable: charts, kubectl and controllers "
    "work, for days.",
    method="`kins up --control-plane-only`; a chart with nine kinds of objects; a list of workflows of kubectl, "
    "each held to what it should say; then Deployments that are made and removed so often that minutes hold days "
    "of work, under the watch of `kins soak`.",
    reported="The control plane of k3s worked completely with its agent disabled, and sufficed for charts, "
    "manifests and RBAC. Its stability was seen for minutes.",
    run=run,
    isolated=False,
)
