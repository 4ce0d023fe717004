"""Every experiment in gVisor on an overlay root and on a 9p root, and its reports as documents: docs/experiments/.

For people: make experiments, or python -m tests.harness.experiments [--minutes N] [--root overlay|9p] [NUMBERS…]
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from tests.harness import BUILD, ROOT
from tests.harness.gvisor import Sandbox, run_through_pipes
from tests.harness.rootfs import docker_tree
from tests.harness.wheel import kins_tree

from kins.experiments.document import WORDS, where
from kins.experiments.model import ExperimentResult
from kins.soak.document import table
from kins.soak.report import SoakReport

DIRECTORY = ROOT / "docs" / "experiments"
ROOTS = ("overlay", "9p")
HELM = BUILD / "tools" / "helm"
REPORTS = "/tmp/reports"
# What an experiment takes besides the time that it watches.
SECONDS_EACH = 600.0

HEAD = """\
# Experiments

<!-- Made by tests/harness/experiments.py: make experiments -->

A public research report on Kubernetes in gVisor left eight experiments. These are their repetitions, run in gVisor with
a root on gVisor's own overlay and with one on 9p, which is what the report was about.
[How to repeat them](../how-to/experiments.md) says what each needs and does.

```sh
make experiments MINUTES=10
make soak MINUTES=60
```
"""


def main() -> int:
    """Run experiments, write their reports, and the index of all reports that there are."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.experiments", description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="how long each watches what it brought to work")
    parser.add_argument("--root", choices=ROOTS, action="append", help="of the sandbox (default: one after the other)")
    parser.add_argument("numbers", nargs="*", default=["all"])
    options = parser.parse_args()
    tree = docker_tree(kins_tree())
    for root in options.root or ROOTS:
        run_in_sandbox(tree, root, options.numbers, options.minutes)
    write_index()
    return 0


def run_in_sandbox(tree: Path, root: str, numbers: Sequence[str], minutes: float) -> None:
    """Run experiments in a new sandbox and fetch their reports. One without an answer leaves a report too."""
    command = ["kins", "experiments", "run", *numbers, "--minutes", f"{minutes:g}", "--report", REPORTS]
    seconds = (60 * minutes + SECONDS_EACH) * (8 if "all" in numbers else len(numbers))
    with Sandbox(tree, root=root, binds={HELM: "/usr/local/bin/helm"}) as sandbox:
        run_through_pipes(sandbox.command(["timeout", f"{seconds:g}", *command]))
        fetch_reports(sandbox, DIRECTORY / root)


def fetch_reports(sandbox: Sandbox, target: Path) -> None:
    """Copy what is in a sandbox's directory of reports to this machine."""
    packed = sandbox.output("sh", "-c", f"tar --create --directory={REPORTS} . | base64 --wrap=0")
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(packed))) as archive:
        archive.extractall(target, filter="data")


def write_index() -> None:
    """The document that links every report."""
    results = {
        root: {path: read(path) for path in sorted((DIRECTORY / root).glob("*.json"))}
        for root in ROOTS
        if (DIRECTORY / root).exists()
    }
    parts = [HEAD.rstrip()]
    for root, found in results.items():
        parts += [f"## On {'an overlay root' if root == 'overlay' else 'a 9p root'}", *section(root, found)]
    parts += soaks()
    (DIRECTORY / "README.md").write_text("\n\n".join(parts) + "\n")


def section(root: str, found: dict[Path, ExperimentResult]) -> Iterator[str]:
    """Where and when, and a row for each report."""
    first = next(iter(found.values()))
    yield f"{where(first.surroundings)}, {first.began[:10]}."
    rows = [
        (
            f"[{each.number} {each.title}]({root}/{path.stem}.md)",
            f"{each.minutes:g} min",
            WORDS[each.verdict],
            each.conclusion,
        )
        for path, each in found.items()
    ]
    yield table(("experiment", "watched", "hypothesis", "what was found"), rows)


def soaks() -> Iterator[str]:
    """Long watches that were committed beside the experiments, each in a directory of its own."""
    rows = []
    for path in sorted(DIRECTORY.glob("soak-*/report.json")):
        report = msgspec.json.decode(path.read_bytes(), type=SoakReport)
        verdict = "healthy" if report.healthy else "; ".join(cause.code for cause in report.causes)
        name = path.parent.name
        rows.append((f"[{name}]({name}/report.md)", f"{report.seconds / 60:.0f} min", report.level, verdict))
    if rows:
        yield "## Long watches"
        yield "By [kins soak](../how-to/soak.md): the node that `kins up` gives in gVisor, with pods that come and go."
        yield table(("watch", "time", "level", "verdict"), rows)


def read(path: Path) -> ExperimentResult:
    """A report as data."""
    return msgspec.json.decode(path.read_bytes(), type=ExperimentResult)


if __name__ == "__main__":
    sys.exit(main())
