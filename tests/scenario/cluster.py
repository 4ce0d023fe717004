"""A cluster as its user sees it: through `kins kubectl`."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.harness.environment import Background, CommandFailed, Environment

NODE = "kins-default"

# Far more than anything here takes on an idle machine: three clusters may share two cores.
PATIENCE = 120.0

Object = dict[str, Any]


class Cluster:
    """The running cluster of an environment, and the namespace in it that a test has for itself."""

    def __init__(self, environment: Environment, namespace: str) -> None:
        self.environment = environment
        self.namespace = namespace

    def kubectl(
        self, *arguments: str, input: str = "", timeout: float = 60.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl in the test's namespace; it must succeed, unless `check` is false."""
        return self.environment.run(self.command(*arguments), text=input, timeout=timeout, check=check)

    def command(self, *arguments: str) -> list[str]:
        """The command line of kubectl in the test's namespace."""
        return ["kins", "kubectl", f"--namespace={self.namespace}", *arguments]

    def spawn(self, *arguments: str) -> Background:
        """Start kubectl and return at once."""
        return self.environment.spawn(self.command(*arguments))

    def apply(self, *objects: Object) -> None:
        """Create or change objects."""
        documents = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--filename=-", input=json.dumps(documents))

    def delete(self, *what: str) -> None:
        """Delete objects (`pod/name`), and wait until they are gone."""
        self.kubectl("delete", f"--timeout={PATIENCE:g}s", *what, timeout=PATIENCE + 10)

    def wait(self, what: str, condition: str, timeout: float = PATIENCE) -> None:
        """Wait until `what` (`pod/name`, or a kind and a selector) is as `kubectl wait --for` writes it."""
        arguments = ("wait", *what.split(), f"--for={condition}", f"--timeout={timeout:g}s")
        try:
            self.kubectl(*arguments, timeout=timeout + 10)
        except CommandFailed as failure:
            described = self.kubectl("describe", *what.split(), check=False)
            raise CommandFailed(f"{failure}\n{described.stdout}{described.stderr}") from failure

    def roll_out(self, what: str, timeout: float = PATIENCE) -> None:
        """Wait until a Deployment, StatefulSet or DaemonSet has all its pods, of its present template."""
        self.kubectl("rollout", "status", what, f"--timeout={timeout:g}s", timeout=timeout + 10)

    def json(self, *arguments: str) -> Any:
        """What `kubectl get` has to say."""
        return json.loads(self.kubectl("get", *arguments, "--output=json").stdout)

    def pods(self, selector: str) -> list[Object]:
        """The pods with a label, without those that are being deleted."""
        found = self.json("pods", f"--selector={selector}")["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def logs(self, what: str, *arguments: str) -> str:
        """What a container has written."""
        return self.kubectl("logs", what, *arguments).stdout

    def execute(self, pod: str, *command: str, container: str = "") -> str:
        """The standard output of a command in a pod's container."""
        chosen = [f"--container={container}"] if container else []
        return self.kubectl("exec", pod, *chosen, "--", *command).stdout

    def state(self) -> str:
        """For the report of a failed test: what there is in its namespace, and what happened."""
        shown = self.kubectl("get", "all,events", "--output=wide", check=False)
        return shown.stdout + shown.stderr
