"""Documents say what is: links resolve, commands parse, lists are complete, nothing generated is stale."""

from __future__ import annotations

import ast
import configparser
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
import pytest
from tests.documents import (
    ROOT,
    anchors,
    blocks,
    codes,
    command_lines,
    command_spans,
    documents,
    kins_calls,
    links,
    prose,
    section,
    tables,
)

from kins.cli import output
from kins.cli.main import COMMANDS, cli
from kins.cluster.creation import Created
from kins.cluster.deletion import Deleted
from kins.cluster.diagnosis import Diagnosis, Report
from kins.cluster.dry_run import Planned, PlannedComponent, PlannedFile, PlannedStep
from kins.cluster.events import Event
from kins.cluster.node_images import ListedImage, LoadedImage, RemovedImage
from kins.cluster.spec import ClusterSpec, Decisions, KubeletDecision, Level, Missing, parse_argument
from kins.cluster.status import ApiHealth, ComponentHealth, NodeHealth, State, Status
from kins.cluster.stopping import Stopped
from kins.components import Layout, PublishedPort
from kins.components.environment import NETWORK_VARIABLES
from kins.errors import KinsError
from kins.experiments.model import Excerpt, ExperimentResult, Measurement
from kins.experiments.model import Verdict as ExperimentVerdict
from kins.sandbox.doctor import Alternative, Finding, KnownBlocker
from kins.soak.churn import Churn, Failure
from kins.soak.figures import Restart
from kins.soak.latency import Latency, Spread
from kins.soak.loglines import ErrorLines
from kins.soak.readiness import Break, Readiness
from kins.soak.report import Cause, SoakReport, Surroundings
from kins.soak.trend import Quantity, Trend, Verdict
from kins.supervise.component import ComponentStatus

DOCUMENTS = [pytest.param(document, id=str(document.relative_to(ROOT))) for document in documents()]
REFERENCE = ROOT / "docs" / "reference"
STRUCTS = [Created, Missing, Event, Deleted, Status, ApiHealth, NodeHealth, ComponentHealth, LoadedImage]
STRUCTS += [KubeletDecision, PublishedPort, Stopped]
STRUCTS += [ListedImage, RemovedImage]
STRUCTS += [Planned, Decisions, PlannedFile, PlannedStep, PlannedComponent]
STRUCTS += [Diagnosis, Finding, Alternative, KnownBlocker, Report]
STRUCTS += [SoakReport, Cause, Readiness, Break, Restart, ErrorLines, Trend, Churn, Failure, Latency, Spread]
STRUCTS += [Surroundings, ExperimentResult, Measurement, Excerpt]


@pytest.fixture(autouse=True)
def _output_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsing a command line remembers its format for the process: not beyond the test."""
    monkeypatch.setattr(output, "_FORMAT", {"format": "text", "command": ""})


def trees(directory: str) -> Iterator[ast.AST]:
    """Every node of every source file below a directory of the package."""
    for path in sorted((ROOT / "src" / "kins" / directory).rglob("*.py")):
        yield from ast.walk(ast.parse(path.read_text()))


def calls(directory: str, *names: str) -> Iterator[ast.Call]:
    """The calls of functions of these names."""
    for node in trees(directory):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in names:
            yield node


def constants(node: ast.AST, kind: type[Any]) -> set[Any]:
    """The constants of a type that an expression may have as its value or a part of it."""
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and type(each.value) is kind}


# Links


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_resolve(document: Path) -> None:
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_every_document_is_linked() -> None:
    targets = {
        (document.parent / link.partition("#")[0]).resolve() for document in documents() for link in links(document)
    }
    unlinked = [each for each in documents() if each not in targets and each.parent not in targets]
    assert unlinked == []


def test_decisions_are_numbered() -> None:
    names = sorted(path.name for path in (ROOT / "docs" / "adr").iterdir())
    assert [name[:5] for name in names] == [f"{number:04}-" for number in range(1, len(names) + 1)]
    for name in names:
        assert (ROOT / "docs" / "adr" / name).read_text().startswith(f"# {name[:4]}: ")


# Commands


def parsed(words: list[str]) -> click.Context | None:
    """The context of a command line, as click makes it; None when it names a group or asks for help. Starts nothing."""
    command: click.Command = cli
    context = click.Context(cli, info_name="kins")
    rest = list(words)
    name = "kins"
    while isinstance(command, click.Group):
        if not rest or rest[0] in ("-h", "--help"):
            return None
        name = rest.pop(0)
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"no command {name!r}")
        command = found
    return command.make_context(name, rest, parent=context)


def problem(words: list[str], *, complete: bool) -> str | None:
    """What is wrong with a command line of kins; words in capitals stand for anything."""
    try:
        context = parsed(words)
        if context is not None and context.info_name in ("up", "plan"):
            arguments = [parse_argument(each) for each in context.params["arguments"]]
            known: dict[str, tuple[str, ...]] = {
                component: (flag,) for component, flag in arguments if component.islower()
            }
            name = context.params["name"]
            ClusterSpec(name=name if name.islower() else "default", arguments=known).validate()
    except click.MissingParameter as error:
        return error.format_message() if complete else None
    except click.ClickException as error:
        return error.format_message()
    except KinsError as error:
        return error.message
    return None


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_parse(document: Path) -> None:
    texts = [(text, True) for text in command_lines(document)] + [(text, False) for text in command_spans(document)]
    calls = [(text, words, complete) for text, complete in texts for words in kins_calls(text)]
    problems = [(text, problem(words, complete=complete)) for text, words, complete in calls]
    assert [found for found in problems if found[1]] == []


def test_commands_are_found_at_all() -> None:
    lines = [text for document in documents() for text in command_lines(document) if list(kins_calls(text))]
    assert {text.split()[1] for text in lines if text.startswith("kins ")} == set(COMMANDS)


def test_what_is_wrong_in_a_command_is_found() -> None:
    wrong = (
        "kins bring-up",
        "kins up --no-such-option",
        "kins image load",
        "kins list -o xml",
        "kins up --arg etc:v=4",
    )
    for line in wrong:
        (words,) = kins_calls(line)
        assert problem(words, complete=True), line


def test_commands_are_found_in_shell_lines() -> None:
    line = "X=1 kins up a && curl $(.venv/bin/kins kubectl get pod -o jsonpath={.a}) | tee b; trap 'kins down' EXIT"
    assert list(kins_calls(line)) == [["up", "a"], ["kubectl", "get", "pod", "-o", "jsonpath={.a}"], ["down"]]


def test_the_blocks_that_are_run_are_marked() -> None:
    flagged = [block for document in documents() for block in blocks(document) if block.flags]
    assert {(block.language, block.flags) for block in flagged} == {("console", ("cluster",))}


def test_command_line_reference_is_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "cli-reference"], capture_output=True, text=True, check=True
    )
    current = (REFERENCE / "cli.md").read_text()
    assert current == done.stdout, "run: .venv/bin/python scripts/cli-reference > docs/reference/cli.md"


# Codes


def test_error_codes_are_complete() -> None:
    exits: dict[str, set[int]] = {}
    for call in calls("", "KinsError", "UsageError", "Event"):
        given = next((keyword.value for keyword in call.keywords if keyword.arg == "code"), None)
        if given is not None:
            for code in constants(given, str):
                exits.setdefault(code, set()).add(2 if ast.unparse(call.func).endswith("UsageError") else 1)
    documented: dict[str, set[int]] = {}
    rows = [row for table in tables((REFERENCE / "error-codes.md").read_text()) for row in table]
    for code, exit_code, cause, step in rows:
        assert cause, code
        assert step, code
        assert code.strip("`") not in documented, f"{code} stands twice"
        documented[code.strip("`")] = {int(exit_code)}
    assert documented == exits


def test_exit_codes_are_complete() -> None:
    found = set().union(*(constants(call, int) for call in calls("cli", "exit")))
    (rows,) = tables((REFERENCE / "exit-codes.md").read_text())
    assert found >= {0, 1, 2, 130}
    assert {int(code) for code, _ in rows} == found


# JSON


@pytest.mark.parametrize("struct", STRUCTS)
def test_json_keys(struct: type[msgspec.Struct]) -> None:
    keys, *_ = tables(section(REFERENCE / "json-output.md", struct.__name__))
    assert [key.strip("`") for key, _, _ in keys] == list(struct.__struct_fields__)


def test_json_words() -> None:
    def row(struct: type[msgspec.Struct], key: str) -> set[str]:
        keys, *_ = tables(section(REFERENCE / "json-output.md", struct.__name__))
        return next(set(codes(meaning)) for name, _, meaning in keys if name == f"`{key}`")

    assert row(Status, "state") - {"--retain"} == set(get_args(State))
    states = msgspec.structs.fields(ComponentStatus)[1]
    assert states.name == "state"
    assert row(ComponentHealth, "state") == set(get_args(states.type))
    levels = [row(struct, "level") for struct in (Created, Status, Planned, Decisions)]
    assert levels == [set(get_args(Level))] * len(levels)


def test_words_of_a_soak() -> None:
    def cell(struct: str, key: str) -> str:
        keys, *_ = tables(section(REFERENCE / "json-output.md", struct))
        return next(meaning for name, _, meaning in keys if name == f"`{key}`")

    assert set(codes(cell("Trend", "verdict"))) == set(get_args(Verdict))
    assert set(codes(cell("ExperimentResult", "verdict"))) == set(get_args(ExperimentVerdict))
    assert set(codes(cell("Trend", "quantity"))) == set(get_args(Quantity))


def test_causes_of_a_soak_are_complete() -> None:
    given = [keyword.value for call in calls("soak", "Cause") for keyword in call.keywords if keyword.arg == "code"]
    told = {value.value for value in given if isinstance(value, ast.Constant)}
    _, rows = tables(section(REFERENCE / "json-output.md", "Cause"))
    assert {code.strip("`") for code, _ in rows} == told | {f"{quantity}-growing" for quantity in get_args(Quantity)}


def test_phases_are_complete() -> None:
    told = [constants(call.args[0], str) for call in calls("cluster", "_tell")]
    told += [
        constants(keyword.value, str)
        for call in calls("cluster", "Event")
        for keyword in call.keywords
        if keyword.arg == "phase"
    ]
    _, phases = tables(section(REFERENCE / "json-output.md", "Event"))
    assert {phase.strip("`") for phase, _ in phases} == set().union(*told)


def test_every_command_with_json_is_listed() -> None:
    def with_json(group: click.Group, path: str = "") -> Iterator[str]:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                yield from with_json(command, f"{name} ")
            elif command is not None and any(parameter.name == "output" for parameter in command.params):
                yield path + name

    (rows,) = tables(section(REFERENCE / "json-output.md", "Results"))
    assert {command.strip("`") for command, _ in rows} == set(with_json(cli))


def test_json_envelope(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_FORMAT", {"format": "json", "command": "list"})
    output.show([], str)
    shown = json.loads(capsys.readouterr().out)
    output.report(KinsError("no", code="no", hint="yes"))
    reported = json.loads(capsys.readouterr().out)
    (rows,) = tables(section(REFERENCE / "json-output.md", "The envelope"))
    assert [key.strip("`") for key, _, _ in rows] == [*shown, "error"]
    examples = [json.loads(block.text) for block in blocks(REFERENCE / "json-output.md") if block.language == "json"]
    assert examples
    for example in examples:
        assert (example.keys(), example["error"].keys()) == (reported.keys(), reported["error"].keys())


# Files and variables


def test_files_are_complete() -> None:
    directory = Path("/cluster")
    paths = {path.relative_to(directory) for path in vars(Layout(directory)).values() if path != directory}
    (rows,) = tables(section(REFERENCE / "files-and-environment.md", "A cluster's directory"))
    assert {Path(name.strip("`")) for name, _ in rows} == paths


def test_environment_variables_are_complete() -> None:
    asked = {
        name
        for call in calls("", "get")
        if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in ("os.environ", "environment")
        for name in constants(call.args[0], str)
    }
    assert {"KINS_HOME", "KUBECONFIG"} <= asked
    (rows,) = tables(section(REFERENCE / "files-and-environment.md", "Environment variables"))
    documented = {name for names, _, _ in rows for name in codes(names)}
    assert documented == asked | set(NETWORK_VARIABLES)


# Architecture


def test_layers_are_those_that_are_enforced() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    layers = contracts["importlinter:contract:layers"]["layers"].strip()
    architecture = ROOT / "docs" / "explanation" / "architecture.md"
    assert f"```text\n{layers}\n```" in architecture.read_text()
    packages = {path.stem for path in (ROOT / "src" / "kins").iterdir() if path.stem.islower() and path.stem[0] != "_"}
    *_, rows = (table for table in tables(section(architecture, "Packages")))
    assert {name.strip("`") for name, _ in rows} == {"kins", *re.findall(r"\w+", layers)}
    assert set(re.findall(r"\w+", layers)) == packages - {"py"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_exist(document: Path) -> None:
    """Paths of this tree that prose names as code; what a build makes is known to git as ignored."""
    built = (ROOT / ".gitignore").read_text().splitlines()
    named = re.findall(r"`((?:src|engine|runtime|tests|scripts|docs)/[\w./-]*)`", prose(document))
    assert [path for path in named if not (ROOT / path).exists() and f"/{path}" not in built] == []
