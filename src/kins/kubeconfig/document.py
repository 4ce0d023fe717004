"""Reading and writing kubeconfig files."""

from __future__ import annotations

import os
import re
from pathlib import Path

import yaml

from kins.errors import KinsError
from kins.kubeconfig.entry import Document

# A kubeconfig is small; more than this is some other file.
MAXIMUM_BYTES = 16 * 1024 * 1024


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the C one where libyaml was there
    """Takes as strings what YAML 1.1 would turn into other things: `no`, `on`, dates, 0123, 1:30."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|false)$", "tf"),
    ("null", r"^(?:null|~|)$", ["n", "~", ""]),
    ("int", r"^-?(?:0|[1-9][0-9]*)$", "-0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


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
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, default_flow_style=False, width=1 << 20)
    return text.encode()


def write_private(path: Path, content: bytes) -> None:
    """Replace a file (or what a symbolic link points to) at once; only its owner can read it, from birth on."""
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        new.replace(target)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise KinsError(
            f"{path} cannot be written: {error}",
            code="kubeconfig-unwritable",
            hint="export KUBECONFIG=$HOME/kubeconfig",
        ) from error


def _invalid(path: Path, reason: str) -> KinsError:
    return KinsError(
        f"{path} is no valid kubeconfig: {reason}",
        code="kubeconfig-invalid",
        hint=f"kubectl config view --kubeconfig {path}",
    )
