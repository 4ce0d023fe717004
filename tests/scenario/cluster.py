"""A cluster as its user sees it: through kubectl."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.harness.environment import Background, CommandFailed, Environment
from tests.harness.wheel import ENVIRONMENT

NODE = "kins-default"

# Far more than anything here takes on an idle machine: three clusters may share two cores.
PATIENCE = 120.0

Object = dict[str, Any]

# What `kins kubectl` would run, as the Python API tells it.
TELL_KUBECTL = """
import json, kins
program, argv, environment = kins.Cluster().kubectl([])
names = ("KUBECONFIG", "KUBECACHEDIR")
print(json.dumps([[str(program), *argv], {name: environment[name] for name in names if name in environment}]))
"""


@dataclass(frozen=True)
class Kubectl:
    """The bundled kubectl without the start of Python before it: in gVisor that is three quarters of a short call."""

    command: tuple[str, ...]
    variables: Mapping[str, str]
    user: int = 0

    @classmethod
    def of(cls, environment: Environment, user: int = 0) -> Kubectl:
        """The one of a user's cluster in an environment."""
        told = environment.run([f"{ENVIRONMENT}/bin/python", "-c", TELL_KUBECTL], user=user).stdout
        command, variables = json.loads(told)
        return cls(tuple(command), variables, user)


THROUGH_KINS = Kubectl(("kins", "kubectl"), {})


class Cluster:
    """The running cluster of an environment, and the namespace in it that a test has for itself."""

    def __init__(self, environment: Environment, namespace: str, kubectl: Kubectl = THROUGH_KINS) -> None:
        self.environment = environment
        self.namespace = namespace
        self._kubectl = kubectl

    def kubectl(
        self, *arguments: str, input: str = "", timeout: float = 60.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl in the test's namespace; it must succeed, unless `check` is false."""
        return self.environment.run(
            self.command(*arguments),
            user=self._kubectl.user,
            variables=self._kubectl.variables,
            text=input,
            timeout=timeout,
            check=check,
        )

    def spawn(self, *arguments: str) -> Background:
        """Start kubectl and return at once."""
        return self.environment.spawn(
            self.command(*arguments), user=self._kubectl.user, variables=self._kubectl.variables
        )

    def command(self, *arguments: str) -> list[str]:
        """The command line of kubectl in the test's namespace."""
        return [*self._kubectl.command, f"--namespace={self.namespace}", *arguments]

    def apply(self, *objects: Object) -> None:
        """Create or change objects."""
        documents = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--filename=-", input=json.dumps(documents))

    def delete(self, *what: str) -> None:
        """Delete objects (`pod/name`), and wait until they are gone."""
        self.kubectl("delete", f"--timeout={PATIENCE:g}s", *what, timeout=PATIENCE + 10)

    def wait(self, what: str, condition: str, timeout: float = PATIENCE) -> None:
        """Wait until objects (`pod/name`, several with spaces between) are as a condition of `kubectl wait` says."""
        try:
            self.kubectl("wait", *what.split(), f"--for={condition}", f"--timeout={timeout:g}s", timeout=timeout + 10)
        except CommandFailed as failure:
            described = self.kubectl("describe", *what.split(), check=False)
            raise CommandFailed(f"{failure}\n{described.stdout}{described.stderr}") from failure

    def ready(self, *pods: str) -> None:
        """Wait until pods are ready."""
        self.wait(" ".join(f"pod/{name}" for name in pods), "condition=Ready")

    def phase(self, phase: str, *pods: str) -> None:
        """Wait until pods are in a phase."""
        self.wait(" ".join(f"pod/{name}" for name in pods), f"jsonpath={{.status.phase}}={phase}")

    def watch(self, what: str, template: str) -> Background:
        """A line for each state of an object (`pod/name`) from now on, made by a JSONPath template."""
        return self.spawn("get", what, "--watch", f"--output=jsonpath={template}{{'\\n'}}")

    def roll_out(self, what: str) -> None:
        """Wait until a Deployment, StatefulSet or DaemonSet has all its pods, of its present template."""
        self.kubectl("rollout", "status", what, f"--timeout={PATIENCE:g}s", timeout=PATIENCE + 10)

    def json(self, *arguments: str) -> Any:
        """What `kubectl get` has to say."""
        return json.loads(self.kubectl("get", *arguments, "--output=json").stdout)

    def pods(self, selector: str) -> list[Object]:
        """The pods with a label, in the order of their names, without those that are being deleted."""
        found = self.json("pods", f"--selector={selector}")["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def logs(self, what: str, *arguments: str) -> str:
        """What a container has written."""
        return self.kubectl("logs", what, *arguments).stdout

    def execute(self, pod: str, *command: str, container: str = "main") -> str:
        """The standard output of a command in a pod's container."""
        return self.kubectl("exec", pod, f"--container={container}", "--", *command).stdout

    def state(self) -> str:
        """For the report of a failed test: what there is in its namespace, what happened, and what the node is at."""
        said = [
            self.kubectl("get", "all", "--output=wide", check=False),
            self.kubectl("events", check=False),
            self.environment.run(["ps", "-eo", "pid,ppid,stat,etimes,args"], check=False),
            *(
                self.environment.kins("logs", component, "--tail", "40", user=self._kubectl.user, check=False)
                for component in ("kubelet", "containerd")
            ),
        ]
        return "\n".join(f"{each.stdout}{each.stderr}" for each in said)


def eventually(holds: Callable[[], bool], timeout: float = PATIENCE) -> None:
    """Ask until the answer is yes. For what `kubectl wait` cannot wait for."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"not so after {timeout:g} s"
        time.sleep(0.2)
