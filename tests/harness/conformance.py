"""The upstream end-to-end suite against a cluster of a fresh environment, with images made from Debian packages.

For people: make conformance FOCUS='\\[sig-network\\].*\\[Conformance\\]', or
python -m tests.harness.conformance --focus PATTERN [--skip PATTERN] [--where native|gvisor-overlay|gvisor-9p]
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import yaml
from tests.harness import BUILD, ROOT
from tests.harness.environment import Environment
from tests.harness.images import SLEEP, Image, built
from tests.scenario.cluster import Kubectl
from tests.scenario.environments import fresh

TOOLS = BUILD / "tools"
SUITE = TOOLS / "e2e.test"
REPORTS = BUILD / "conformance"
KNOWN = ROOT / "docs" / "reference" / "conformance.md"
# One node on two cores: upstream's own default of 25 would only wait for each other.
PROCESSES = 3
UP_SECONDS = 130.0
SUITE_SECONDS = 4 * 3600.0
SKIPPED = r"\[Serial\]|\[Disruptive\]|\[Slow\]|\[Flaky\]"

# Where the suite takes its images from: names that no registry answers to.
REPOSITORY = "kins-test"
REPOSITORIES = {
    "promoterE2eRegistry": REPOSITORY,
    "buildImageRegistry": REPOSITORY,
    "gcEtcdRegistry": REPOSITORY,
    "gcRegistry": REPOSITORY,
    "sigStorageRegistry": REPOSITORY,
    "dockerLibraryRegistry": REPOSITORY,
    "cloudProviderGcpRegistry": REPOSITORY,
}

# What the suite's scripts call in any of its images.
PACKAGES = ("bind9-dnsutils", "bsdextrautils", "iputils-ping", "nginx-light", "wget")
# The user that a test of supplementary groups looks for (test/images/agnhost/Dockerfile).
USERS = """\
root:x:0:0:root:/root:/bin/bash
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
user-defined-in-image:x:1000:1000::/:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
GROUPS = """\
root:x:0:
www-data:x:33:
user-defined-in-image:x:1000:
group-defined-in-image:x:50000:user-defined-in-image
nogroup:x:65534:
"""
NGINX = """\
daemon off;
user www-data;
pid /run/nginx.pid;
error_log stderr notice;
events { worker_connections 256; }
http { server { listen 80; root /usr/share/nginx/html; } }
"""


@dataclass(frozen=True)
class Outcome:
    """What became of a test. `status` is `passed` or `failed`; those that were not asked for are not there."""

    name: str
    status: str
    seconds: float
    message: str


def main() -> int:
    """Run a part of the suite and write JUnit and a summary; 0 if only known failures failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.conformance", description=main.__doc__)
    parser.add_argument("--focus", required=True, help="a regular expression of ginkgo's, over whole names of tests")
    parser.add_argument("--skip", default=SKIPPED)
    parser.add_argument("--where", choices=("native", "gvisor-overlay", "gvisor-9p"), default="gvisor-overlay")
    parser.add_argument("--procs", type=int, default=PROCESSES)
    options = parser.parse_args()
    target = REPORTS / options.where
    target.mkdir(parents=True, exist_ok=True)
    images = suite_images()
    archives = {built(image): f"/conformance/{image.archive.name}" for image in images}
    began = time.monotonic()
    with fresh(options.where, {**archives, TOOLS: "/tools"}) as environment:
        prepare(environment, list(archives.values()))
        run_suite(environment, options.focus, options.skip, options.procs)
        fetch(environment, target)
    outcomes = list(read_junit(target / "junit_01.xml"))
    (target / "summary.json").write_text(summary_json(outcomes))
    return say(outcomes, known_failures(), time.monotonic() - began)


def suite_images() -> list[Image]:
    """The images that the suite names and that are made here, with its own tags."""
    repositories = TOOLS / "repositories.yaml"
    repositories.write_text(yaml.safe_dump(REPOSITORIES))
    environment = {"KUBE_TEST_REPO_LIST": str(repositories)}
    answer = subprocess.run([SUITE, "--list-images"], env=environment, capture_output=True, text=True, check=True)
    listed = answer.stdout.split()
    found = []
    for name in sorted(set(listed)):
        repository, _, rest = name.rpartition("/")
        short, _, tag = rest.partition(":")
        if repository == REPOSITORY and short in MAKERS:
            found.append(MAKERS[short](name, f"{short}-{tag}"))
    return found


def agnhost(name: str, archive: str) -> Image:
    """Upstream's program for everything (test/images/agnhost), with the certificate that it serves with."""
    porter = kubernetes() / "test" / "images" / "agnhost" / "porter"
    return Image(
        name,
        ("pause",),
        packages=PACKAGES,
        entry_point=("/agnhost",),
        files={"etc/passwd": USERS, "etc/group": GROUPS, "uploads/.keep": ""},
        programs={
            "agnhost": TOOLS / "agnhost",
            "localhost.crt": porter / "localhost.crt",
            "localhost.key": porter / "localhost.key",
        },
        links={"agnhost-2": "agnhost", "bin/sh": "bash"},
        archive_name=archive,
    )


def pause(name: str, archive: str) -> Image:
    """Upstream's program again, which can also do nothing."""
    programs = {"agnhost": TOOLS / "agnhost"}
    return Image(name, ("pause",), entry_point=("/agnhost",), programs=programs, archive_name=archive)


def shell(name: str, archive: str) -> Image:
    """A shell and what scripts call; bash, which keeps variables whose names are none to dash."""
    return Image(name, ("sh",), packages=PACKAGES, links={"bin/sh": "bash"}, archive_name=archive)


def non_root(name: str, archive: str) -> Image:
    """An image whose user is a number."""
    return Image(name, SLEEP, packages=PACKAGES, user="1234", links={"bin/sh": "bash"}, archive_name=archive)


def nginx(name: str, archive: str) -> Image:
    """nginx where upstream's image has its documents."""
    page = "<title>Welcome to nginx!</title>\n"
    files = {"etc/nginx/nginx.conf": NGINX, "usr/share/nginx/html/index.html": page}
    return Image(name, ("nginx", "-e", "stderr"), packages=PACKAGES, files=files, archive_name=archive)


MAKERS = {
    "agnhost": agnhost,
    "busybox": shell,
    "glibc-dns-testing": shell,
    "nginx": nginx,
    "nonroot": non_root,
    "pause": pause,
}


def kubernetes() -> Path:
    """The sources of the Kubernetes module."""
    go = str(BUILD / "toolchain" / "bin" / "go")
    command = [go, "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"]
    module = ROOT / "tests" / "modules" / "conformance"
    return Path(subprocess.run(command, cwd=module, capture_output=True, text=True, check=True).stdout.strip())


def prepare(environment: Environment, archives: Sequence[str]) -> None:
    """A cluster with the suite's images, and a program that is kubectl."""
    environment.kins("up", "--level", "node", timeout=UP_SECONDS)
    environment.kins("image", "load", *archives, timeout=600)
    program, *arguments = Kubectl.of(environment).command
    environment.write("/tmp/kubectl", f'#!/bin/sh\nexec {program} {arguments[0]} "$@"\n')
    environment.run(["chmod", "755", "/tmp/kubectl"])


def run_suite(environment: Environment, focus: str, skip: str, processes: int) -> None:
    """Run it; its failures are read from its report."""
    command = [
        "/tools/ginkgo",
        f"--procs={processes}",
        f"--focus={focus}",
        f"--skip={skip}",
        "--no-color",
        "/tools/e2e.test",
        "--",
        "--provider=skeleton",
        "--kubeconfig=/root/.kube/config",
        "--kubectl-path=/tmp/kubectl",
        "--report-dir=/tmp/report",
        "--allowed-not-ready-nodes=0",
    ]
    variables = {"KUBE_TEST_REPO_LIST": "/tools/repositories.yaml"}
    done = environment.run(command, variables=variables, timeout=SUITE_SECONDS, check=False)
    (REPORTS / "suite.log").write_text(done.stdout + done.stderr)


def fetch(environment: Environment, target: Path) -> None:
    """Copy the report to this machine."""
    packed = environment.output("sh", "-c", "tar --create --directory=/tmp/report . | base64 --wrap=0")
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(packed))) as archive:
        archive.extractall(target, filter="data")


def read_junit(path: Path) -> Iterator[Outcome]:
    """The tests that ran, from the report of ginkgo (its nodes of the suite itself included, when they failed)."""
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        status = case.get("status", "")
        if status in ("skipped", "pending"):
            continue
        name, is_test = case.get("name", "").removeprefix("[It] "), case.get("name", "").startswith("[It] ")
        seconds = float(case.get("time", "0"))
        if status != "passed":
            reason = next((each.get("message", "") for each in case if each.tag in ("failure", "error")), "")
            yield Outcome(name, "failed", seconds, reason.strip() or status)
        elif is_test:
            yield Outcome(name, "passed", seconds, "")


def summary_json(outcomes: Sequence[Outcome]) -> str:
    """The summary for programs."""
    return json.dumps([vars(each) for each in outcomes], indent=2) + "\n"


def known_failures() -> list[str]:
    """The names (or beginnings of them) in the first column of the document's table."""
    rows = [line.split("|")[1].strip() for line in KNOWN.read_text().splitlines() if line.startswith("| `")]
    return [row.strip("`") for row in rows]


def say(outcomes: Sequence[Outcome], known: Sequence[str], seconds: float) -> int:
    """Print the summary; 1 when a test failed that is not known to, or when none ran."""
    failed = [each for each in outcomes if each.status == "failed"]
    unknown = [each for each in failed if not any(name in each.name for name in known)]
    for each in failed:
        mark = "FAILED" if each in unknown else "known "
        print(f"{mark} {each.name}\n       {each.message.splitlines()[0][:200]}")
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} passed in {seconds / 60:.0f} min")
    return 0 if outcomes and not unknown else 1


if __name__ == "__main__":
    sys.exit(main())
