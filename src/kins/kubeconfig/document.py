"""Reading and writing kubeconfig files."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any

import yaml

from kins.errors import KinsError
from kins.kubeconfig.entry import Document

# A kubeconfig is small; more than this is some other file.
MAXIMUM_BYTES = 16 * 1024 * 1024
NULL_TAG, MERGE_TAG, STRING_TAG = (f"tag:yaml.org,2002:{name}" for name in ("null", "merge", "str"))
# Go's YAML knows numbers (1e5, 0o17) and booleans (y, n) that Python's does not, and so would not quote.
AMBIGUOUS = re.compile(r"[-+.0-9]|[yYnN]$")


class _Plain(str):
    """A scalar that stood unquoted in the file. It is written back as it stood: what `yes`, 1e5, 0123 or a date mean is
    for the reader to say, and kubectl's differs from Python's."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the C one where libyaml was there
    """Makes plain data in which only null, quoted strings and unquoted scalars are told apart."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        return _Plain(node.value) if self._is_unquoted(node) else super().construct_object(node, deep)

    def _is_unquoted(self, node: yaml.Node) -> bool:
        """Not null, and no tag but that of its form (`!!str 123` has another one)."""
        return (
            isinstance(node, yaml.ScalarNode)
            and not node.style
            and node.tag not in (NULL_TAG, MERGE_TAG)
            and node.tag == self.resolve(yaml.ScalarNode, node.value, (True, False))
        )


class _Dumper(yaml.SafeDumper):
    """Quotes strings that any reader could take for something else, and unquoted scalars of the source never."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar(STRING_TAG, text, style="'" if AMBIGUOUS.match(text) else None)

    def represent_plain(self, plain: _Plain) -> yaml.ScalarNode:
        tag = self.resolve(yaml.ScalarNode, str(plain), (True, False))  # type: ignore[no-untyped-call]  # of the stubs
        return self.represent_scalar(tag, str(plain))


_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_representer(_Plain, _Dumper.represent_plain)


def load(path: Path) -> Document | None:
    """A file's content; None when there is no such file, {} when it is empty. Raises KinsError `kubeconfig-invalid`."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAXIMUM_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _invalid(path, str(error)) from error
    if len(content) > MAXIMUM_BYTES:
        raise _invalid(path, "too large")
    try:
        # _Loader is a safe loader: it makes plain data only.
        document = yaml.load(content, Loader=_Loader)
    except yaml.YAMLError as error:
        raise _invalid(path, " ".join(str(error).split())) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise _invalid(path, "it is not a mapping")
    for section in ("clusters", "contexts", "users"):
        items = document.get(section) or []
        if not isinstance(items, list) or not all(isinstance(item, dict) and "name" in item for item in items):
            raise _invalid(path, f"{section!r} is not a list of named items")
    return document


def dump(document: Document) -> bytes:
    """The document as YAML; strings that another reader could take for something else are quoted."""
    text: str = yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=1 << 20
    )
    return text.encode()


def write_private(path: Path, content: bytes) -> None:
    """Replace a file (or what a symbolic link points to) at once; only its owner can read it, from birth on."""
    target = path.resolve()
    new = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            _keep_owner(target, file.fileno())
        new.replace(target)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise KinsError(
            f"{path} cannot be written: {error}",
            code="kubeconfig-unwritable",
            hint="export KUBECONFIG=$HOME/kubeconfig",
        ) from error


def _keep_owner(target: Path, new: int) -> None:
    """Root that writes a user's file (`sudo -E kins up`) must not take it away from its owner."""
    if target.exists() and os.geteuid() == 0:
        # An owner that our user namespace does not map (EINVAL) could not have shared it with us before either.
        with contextlib.suppress(OSError):
            os.fchown(new, target.stat().st_uid, target.stat().st_gid)


def _invalid(path: Path, reason: str) -> KinsError:
    return KinsError(
        f"{path} is no valid kubeconfig: {reason}",
        code="kubeconfig-invalid",
        hint=f"kubectl config view --kubeconfig {path}",
    )
