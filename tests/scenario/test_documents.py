"""What the documents tell a reader to type works as they say, from the first block to the last."""

from __future__ import annotations

from collections.abc import Iterator
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker

import pytest
from tests.documents import ROOT, Block, Command, blocks, commands, documents
from tests.harness.environment import CommandFailed, Environment
from tests.harness.images import NGINX
from tests.scenario.cluster import PATIENCE
from tests.scenario.environments import ENVIRONMENTS, fresh

pytestmark = pytest.mark.one_root("overlay")

TUTORIAL = ROOT / "docs" / "tutorial" / "first-cluster.md"
# The image that the tutorial's reader has saved.
TUTORIAL_IMAGE = "nginx:stable"

# Copies a docker archive, with another name for its image.
SAVE_AS = """
import io, json, sys, tarfile
source, target, name = sys.argv[1:]
with tarfile.open(source) as archive, tarfile.open(target, "w") as copy:
    for member in archive:
        content = archive.extractfile(member)
        if member.name == "manifest.json":
            (manifest,) = json.load(content)
            content = io.BytesIO(json.dumps([{**manifest, "RepoTags": [name]}]).encode())
            member.size = len(content.getvalue())
        copy.addfile(member, content)
"""


def run_blocks(document: str) -> list[Block]:
    """The blocks of a document that a cluster is needed for."""
    return [block for block in blocks(ROOT / document) if "cluster" in block.flags]


# Apart from the tutorial: all of them begin with `kins up` and end with `kins down`.
HOW_TOS = [
    name for name in (str(path.relative_to(ROOT)) for path in documents() if path != TUTORIAL) if run_blocks(name)
]


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def reader(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """An environment without a cluster: `environment`, which is shared, may have one."""
    with fresh(request.param) as started:
        yield started


def follow(reader: Environment, place: str, document: str) -> None:
    """Type what a document says, block after block."""
    for block in run_blocks(document):
        for command in commands(block):
            run(reader, place, command, f"{document}:{block.line}")


def run(reader: Environment, place: str, command: Command, where: str) -> None:
    """Run one command in a shell, at `place`; it must succeed and print what the document shows, if that shows any."""
    script = f"exec 2>&1\ncd {place}\n{command.text}\n"
    done = reader.run(["bash", "-euo", "pipefail", "-c", script], timeout=PATIENCE + 30)
    matches = OutputChecker().check_output(command.output, done.stdout, ELLIPSIS | NORMALIZE_WHITESPACE)
    if command.output and not matches:
        raise CommandFailed(f"{where}: {command.text}\nprints\n{done.stdout}\nand not\n{command.output}")


@pytest.fixture
def place(reader: Environment) -> Iterator[str]:
    """An empty directory of the reader's."""
    path = reader.output("mktemp", "--directory").strip()
    yield path
    reader.run(["rm", "-r", path])


def test_tutorial(reader: Environment, place: str) -> None:
    reader.run(["python3", "-c", SAVE_AS, f"/images/{NGINX.archive.name}", f"{place}/nginx.tar", TUTORIAL_IMAGE])
    follow(reader, place, str(TUTORIAL.relative_to(ROOT)))


@pytest.mark.parametrize("document", HOW_TOS)
def test_how_to(reader: Environment, place: str, document: str) -> None:
    follow(reader, place, document)


def test_there_is_something_to_follow() -> None:
    assert len(run_blocks(str(TUTORIAL))) >= 5
    assert len(HOW_TOS) >= 2


def test_wrong_output_is_found(reader: Environment, place: str) -> None:
    run(reader, place, Command("echo one two three", "one ... three"), "here")
    with pytest.raises(CommandFailed, match="and not"):
        run(reader, place, Command("echo one two", "one ... three"), "here")
    with pytest.raises(CommandFailed, match="exit 3"):
        run(reader, place, Command("exit 3"), "here")
