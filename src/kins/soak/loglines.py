"""Error lines in the components' logs, counted by their pattern.

Upstream writes three formats: klog (Kubernetes; severity in the first letter), logrus as logfmt (containerd) and zap as
JSON (etcd). What is in no format but tells the end of a program counts too: Go's panics and Python's tracebacks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec

from kins.supervise.logs import read_new, size

# The line of the research report: it is counted also where it never comes.
MEMORY_CACHE = "unable to find data in memory cache"
# What the kubelet adds when it has the root's figures and lacks those of groups that were made a moment ago: cAdvisor
# has not read them yet (pkg/kubelet/stats/cadvisor_stats_provider.go). That happens on any machine now and then.
PARTIAL = "Partial failure"
ERROR = re.compile(
    r"^[EF]\d{4} \d\d:\d\d:"
    r"|\blevel=(error|fatal|panic)\b"
    r"|\"level\":\"(error|fatal|panic|dpanic)\""
    r"|^panic: |^fatal error: |^Traceback "
)
KLOG_HEADER = re.compile(r"^[EF]\d{4} [\d:.]+\s+\d+ ")
KLOG_STRUCTURED = re.compile(r'(\S+\.go:\d+\] "(?:[^"\\]|\\.)*")')
KLOG_ERROR = re.compile(r'\berr="(?:[^"\\]|\\.)*"')
# What differs from one line of a kind to the next, most specific first.
VARIABLE = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d)?"), "TIME"),
    (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b"), "ADDRESS"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{10,64}\b"), "ID"),
    (re.compile(r"(?<![\w.])\d[\d.]*(?:ns|µs|ms|s|m|h)?\b"), "N"),
    (re.compile(r"(?<=-)\d+\b"), "N"),
    # What Kubernetes appends to generated names (apimachinery, pkg/util/rand): no vowels, no 0, 1 and 3.
    (re.compile(r"(?<=-)[bcdfghjklmnpqrstvwxz2456789]{5,10}\b"), "HASH"),
)
LONGEST_PATTERN = 200
LONGEST_LINE = 500


class ErrorLines(msgspec.Struct, frozen=True, kw_only=True):
    """How often a component wrote lines of a pattern, and one of them whole."""

    component: str
    pattern: str
    count: int
    example: str


def is_error(line: str) -> bool:
    """Whether a line of a log tells an error."""
    return ERROR.search(line) is not None


def pattern(line: str) -> str:
    """What lines of one kind have in common: without time, names and numbers."""
    text = KLOG_HEADER.sub("", line.strip())
    # klog's `file.go:123] "message" key="value"…`: place and error say what it is, the other keys what it is of.
    structured = KLOG_STRUCTURED.match(text)
    if structured is None:
        return _without_variables(text)[:LONGEST_PATTERN]
    error = KLOG_ERROR.search(text)
    told = f" {_without_variables(error[0])}" if error else ""
    return f"{structured[1]}{told}"[:LONGEST_PATTERN]


def _without_variables(text: str) -> str:
    for expression, word in VARIABLE:
        text = expression.sub(word, text)
    return text


class LogWatch:
    """What was written to logs since this was made."""

    def __init__(self, logs: Mapping[str, Path]) -> None:
        self._logs = dict(logs)
        self._positions = {name: size(log) for name, log in logs.items()}
        self._unfinished = dict.fromkeys(logs, "")
        self._counts: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], str] = {}
        self.memory_cache_errors = 0
        self.memory_cache_example = ""

    def look(self) -> None:
        """Count the lines that are new."""
        for name, log in self._logs.items():
            for chunk, position in read_new(log, self._positions[name]):
                self._positions[name] = position
                *lines, rest = (self._unfinished[name] + chunk.decode(errors="replace")).split("\n")
                self._unfinished[name] = rest
                for line in lines:
                    self._count(name, line)

    def _count(self, name: str, line: str) -> None:
        if MEMORY_CACHE in line and PARTIAL not in line:
            self.memory_cache_errors += 1
            self.memory_cache_example = self.memory_cache_example or line.strip()[:LONGEST_LINE]
        if is_error(line):
            key = (name, pattern(line))
            self._counts[key] += 1
            self._examples.setdefault(key, line.strip()[:LONGEST_LINE])

    def errors(self) -> tuple[ErrorLines, ...]:
        """The patterns, most frequent first."""
        return tuple(
            ErrorLines(component=name, pattern=found, count=count, example=self._examples[name, found])
            for (name, found), count in self._counts.most_common()
        )
