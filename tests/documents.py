"""The documents as tests read them: fenced blocks, command lines, tables, links.

Blocks that hold commands are ```sh, where every line is one, and ```console, where lines after `$ ` are. A line after
`> ` goes on with a command; the others are output, in which `...` stands for anything. Those marked ```console cluster
are run by the scenario tests.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```(?P<info>.*)$")
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
SPAN = re.compile(r"`(?P<code>[^`\n]+)`")
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
# Words of the shell that may stand before a command.
BEFORE_A_COMMAND = {"{", "!", "if", "then", "else", "do", "while", "until"}


def documents() -> list[Path]:
    """Every document of the project."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is the number of its first line of text."""

    document: Path
    line: int
    language: str
    flags: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Command:
    """A command of a block and, in a console block, what it prints."""

    text: str
    output: str = ""


def blocks(document: Path) -> Iterator[Block]:
    """The fenced blocks of a document."""
    begin, info, lines = 0, "", list[str]()
    for number, line in enumerate(document.read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if begin and fence:
            language, *flags = info.split() or [""]
            yield Block(document, begin, language, tuple(flags), "\n".join(lines) + "\n")
            begin, lines = 0, []
        elif begin:
            lines.append(line)
        elif fence:
            begin, info = number + 1, fence["info"]
    assert not begin, f"{document}: the block at line {begin} does not end"


def prose(document: Path) -> str:
    """A document without its fenced blocks."""
    kept, inside = [], False
    for line in document.read_text().splitlines():
        if FENCE.match(line):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def commands(block: Block) -> list[Command]:
    """The commands of a block, none for blocks of other languages."""
    if block.language == "console":
        return _console_commands(block)
    if block.language == "sh":
        lines = block.text.replace("\\\n", " ").splitlines()
        return [Command(line) for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return []


def _console_commands(block: Block) -> list[Command]:
    found: list[tuple[list[str], list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
            continue
        assert found, f"{block.document}:{block.line}: a console block begins with `$ `"
        text, output = found[-1]
        if line.startswith("> ") and not output:
            text.append(line[2:])
        else:
            output.append(line)
    return [Command("\n".join(text), "\n".join(output)) for text, output in found]


def kins_calls(shell: str) -> Iterator[list[str]]:
    """The words after each `kins` that a shell command starts, also in quotes as in `trap 'kins down' EXIT`."""
    lexer = shlex.shlex(shell, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word.startswith("kins "):
            yield from kins_calls(word)
        if not set(word) <= set("();<>|&"):
            words.append(word)
            continue
        while words and (words[0] in BEFORE_A_COMMAND or ASSIGNMENT.match(words[0])):
            words.pop(0)
        if words and Path(words[0]).name == "kins":
            yield words[1:]
        words = []


def command_lines(document: Path) -> list[str]:
    """The commands of all blocks of a document."""
    return [command.text for block in blocks(document) for command in commands(block)]


def command_spans(document: Path) -> list[str]:
    """The commands of kins that a document names in its text, often without their arguments."""
    # In a table a pipe within code is escaped.
    spans = [span["code"].replace("\\|", "|") for span in SPAN.finditer(prose(document))]
    return [span for span in spans if span.startswith("kins ")]


def section(document: Path, heading: str) -> str:
    """What stands under a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", document.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{document}: no heading {heading!r}"
    return found[1]


def tables(text: str) -> list[list[list[str]]]:
    """The tables in a text as lists of rows, without their headers."""
    found: list[list[list[str]]] = []
    previous = ""
    for line in text.splitlines():
        if line.startswith("|--"):
            found.append([])
        elif line.startswith("|") and previous.startswith("|"):
            found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        previous = line
    return found


def codes(cell: str) -> list[str]:
    """The code spans of a table's cell."""
    return SPAN.findall(cell)


def slug(heading: str) -> str:
    """The anchor that a heading gets in rendered documents."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings."""
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)}


def links(document: Path) -> list[str]:
    """The targets of a document's links, those to other sites left out."""
    found = [link["target"] for link in LINK.finditer(prose(document))]
    return [target for target in found if not target.startswith(("http://", "https://"))]
