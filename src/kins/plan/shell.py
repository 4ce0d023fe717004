"""Text for a POSIX shell: what a plan prints as a script."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence

WIDTH = 118


def here_document(command: str, text: str, *, expands: bool = False) -> str:
    """A command with lines as its standard input. With `expands` the shell replaces `$(…)` in them."""
    assert text.endswith("\n"), "a here-document consists of lines"
    end = "END"
    while end in text.splitlines():
        end += "_"
    beginning = end if expands else f"'{end}'"
    return f"{command} <<{beginning}\n{text}{end}"


def base64_of(path: str) -> str:
    """What the shell replaces by a file's content in base64, in one line."""
    return f"$(base64 -w 0 {shlex.quote(path)})"


def command(words: Sequence[str]) -> str:
    """A command line, a word per line where it is too long for one."""
    quoted = [shlex.quote(word) for word in words]
    line = " ".join(quoted)
    return line if len(line) <= WIDTH else " \\\n    ".join(quoted)


def comment(text: str) -> str:
    """Lines that the shell does not read, wrapped."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        indent = "  " if paragraph.startswith("- ") else ""
        lines += textwrap.wrap(paragraph, WIDTH, subsequent_indent=indent) or [""]
    return "\n".join(f"# {line}".rstrip() for line in lines)
