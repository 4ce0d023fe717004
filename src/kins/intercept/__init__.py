"""What to intercept and why: rules for system calls, their texts and files, the tracer's command line.

The tracing itself is the program `kins-intercept` (engine/internal/intercept), which takes the rules as JSON. Nothing
here starts it, but for the question what this kernel offers.
"""

from kins.intercept.node import node_rules
from kins.intercept.rules import (
    Address,
    OneId,
    Own,
    Redirect,
    Rule,
    Source,
    StatfsOfMount,
    StatfsOfPath,
    StatfsOfType,
    Uname,
    encode,
    validate,
)
from kins.intercept.texts import convert, parse, read
from kins.intercept.tracer import check_support, command_line, hold_in_memory

__all__ = [
    "Address",
    "OneId",
    "Own",
    "Redirect",
    "Rule",
    "Source",
    "StatfsOfMount",
    "StatfsOfPath",
    "StatfsOfType",
    "Uname",
    "check_support",
    "command_line",
    "convert",
    "encode",
    "hold_in_memory",
    "node_rules",
    "parse",
    "read",
    "validate",
]
