"""What kubectl streams to and from containers."""

from __future__ import annotations

import re
import signal

import pytest
from tests.harness.environment import Environment
from tests.harness.images import NGINX
from tests.scenario.cluster import Cluster
from tests.scenario.manifests import container, pod, script

pytestmark = pytest.mark.one_root("overlay")


def test_logs_follow(cluster: Cluster) -> None:
    """Lines come as they are written, and the end is the container's."""
    text = "echo first; until [ -e /tmp/go ]; do sleep 0.1; done; echo second"
    cluster.apply(pod("talker", script(text), restartPolicy="Never"))
    cluster.ready("talker")
    with cluster.spawn("logs", "--follow", "talker") as logs:
        assert logs.line() == "first"
        cluster.execute("talker", "touch", "/tmp/go")
        assert logs.line() == "second"
        assert logs.finish(timeout=60) == (0, "")
    assert cluster.logs("talker", "--tail=1") == "second\n"


def test_exec(cluster: Cluster) -> None:
    """Standard input, output and error are apart, and the exit status is the command's."""
    cluster.apply(pod("shell"))
    cluster.ready("shell")
    text = "cat; echo error >&2; exit 7"
    done = cluster.kubectl("exec", "--stdin", "shell", "--", "bash", "-c", text, input="grüße\n", check=False)
    assert (done.returncode, done.stdout) == (7, "grüße\n")
    assert done.stderr.startswith("error\n")


def test_exec_on_a_terminal(cluster: Cluster, environment: Environment) -> None:
    """A shell on a terminal of its own, as large as the user's; control characters become signals."""
    cluster.apply(pod("shell"))
    cluster.ready("shell")
    command = f"kins kubectl --namespace={cluster.namespace} exec -it shell -- bash --norc"
    with environment.spawn(["script", "-qec", f"stty rows 33 cols 99; {command}", "/dev/null"]) as terminal:
        terminal.say("PS1=; stty -echo; tty\n")
        assert "/dev/pts/" in terminal.line_with("/dev/")
        # The size arrives after the start.
        terminal.say('until [ "$(stty size)" = "33 99" ]; do sleep 0.1; done; echo resized\n')
        terminal.line_with("resized")
        # Ends the child, not the shell.
        terminal.say("sh -c 'echo sleeping; exec sleep 1000'\n")
        terminal.line_with("sleeping")
        terminal.say("\x03")
        terminal.say("echo status $?\n")
        assert terminal.line_with("status ").strip().endswith("status 130")
        terminal.say("exit 7\n")
        status, _ = terminal.finish(timeout=60)
        assert status == 7


def test_attach(cluster: Cluster) -> None:
    """To the standard input and output of a container's first process."""
    echo = script("while read -r line; do echo got $line; done; echo end", stdin=True, stdinOnce=True)
    cluster.apply(pod("echo", echo, restartPolicy="Never"))
    cluster.ready("echo")
    with cluster.spawn("attach", "--stdin", "echo") as attached:
        attached.say("hello\n")
        attached.line_with("got hello")
        attached.say("you\n")
        attached.line_with("got you")
        # This closes its standard input.
        assert attached.finish(timeout=60) == (0, "end\n")
    cluster.phase("Succeeded", "echo")


def test_copy(cluster: Cluster, environment: Environment, directory: str) -> None:
    """A file and a directory into a container and back."""
    cluster.apply(pod("shell"))
    cluster.ready("shell")
    make = 'cd $0; mkdir -p in/sub; head -c 5000000 /dev/urandom > in/large; echo text > "in/sub/a name"'
    environment.run(["sh", "-euc", make, directory])
    cluster.kubectl("cp", f"{directory}/in", "shell:/tmp/there")
    sums = cluster.execute("shell", "sh", "-c", "cd /tmp/there; find . -type f | sort | xargs -d '\\n' md5sum")
    assert len(sums.splitlines()) == 2
    cluster.kubectl("cp", "shell:/tmp/there", f"{directory}/back")
    compared = environment.run(["md5sum", "--check"], text=sums.replace("./", f"{directory}/back/"))
    assert compared.stdout.count(": OK\n") == 2
    cluster.kubectl("cp", "shell:/tmp/there/large", f"{directory}/large")
    environment.run(["cmp", f"{directory}/in/large", f"{directory}/large"])


def test_port_forward(cluster: Cluster, environment: Environment) -> None:
    """From a port of the environment to one of the pod, several connections long."""
    cluster.apply(pod("web", container(image=NGINX.name)))
    cluster.ready("web")
    with cluster.spawn("port-forward", "pod/web", ":80") as forward:
        found = re.search(r"127\.0\.0\.1:(\d+) -> 80", forward.line_with("127.0.0.1"))
        assert found
        address = f"http://127.0.0.1:{found[1]}/"
        for _ in range(3):
            assert environment.output("curl", "--silent", "--fail", address) == "nginx in kins\n"
        forward.kill(signal.SIGINT)
        forward.finish(timeout=60)
    assert environment.run(["curl", "--silent", address], check=False).returncode == 7
