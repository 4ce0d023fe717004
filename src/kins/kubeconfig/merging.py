"""A cluster into the user's kubeconfig, and out of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kins.kubeconfig import document, files
from kins.kubeconfig.entry import Document, Entry, empty

SECTIONS = ("clusters", "contexts", "users")


class _Files:
    """The documents of all files, and which of them were changed."""

    def __init__(self, candidates: list[Path]) -> None:
        self.candidates = candidates
        self.documents = {path: found for path in candidates if (found := document.load(path)) is not None}
        self.changed: list[Path] = []

    def change(self, path: Path) -> Document:
        """The document of a file for changing; a new file's is made."""
        if path not in self.changed:
            self.changed.append(path)
        found = self.documents.setdefault(path, {})
        if not found:
            found.update(empty())
        return found

    def write(self) -> None:
        """Put the changed files in place; one that has become empty goes, but no link that somebody set."""
        for path in self.changed:
            if _is_empty(self.documents[path]) and not path.is_symlink():
                path.unlink(missing_ok=True)
            else:
                document.write_private(path, document.dump(self.documents[path]))

    def holder(self, section: str, name: str) -> Path | None:
        """The file that defines a named item: the first one, as in reading."""
        for path, found in self.documents.items():
            if any(item["name"] == name for item in found.get(section) or ()):
                return path
        return None

    def current_context_holder(self) -> Path | None:
        """The file whose current context counts: the first one that sets it."""
        return next((path for path, found in self.documents.items() if found.get("current-context")), None)


def merge(entry: Entry, environment: Mapping[str, str] = os.environ, make_current: bool = True) -> Path:
    """Add or update the entry where kubectl would; returns the file that new things go to. Raises KinsError."""
    candidates = files.paths(environment)
    with files.locked(candidates):
        found = _Files(candidates)
        target = files.default(candidates)
        for section, item in entry.stanzas().items():
            _put(found.change(found.holder(section, entry.name) or target), section, item)
        if make_current:
            found.change(target)["current-context"] = entry.name
        found.write()
    return target


def remove(name: str, environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Remove cluster, context and user of that name from every file; returns the files that changed. Raises KinsError.

    The current context is unset if it was this one. Nothing is created or locked where there is no such entry.
    """
    for path in files.paths(environment):
        # Of an `up` that was killed over it, perhaps before it had written the file.
        if files.clear_stale(path):
            _remove_empty_directory(path.parent)
    candidates = [path for path in files.paths(environment) if path.exists()]
    if not _mentions(_Files(candidates), name):
        return []
    with files.locked(candidates):
        found = _Files(candidates)
        for path, content in list(found.documents.items()):
            for section in SECTIONS:
                items = content.get(section) or []
                if any(item["name"] == name for item in items):
                    found.change(path)[section] = [item for item in items if item["name"] != name]
        holder = found.current_context_holder()
        if holder is not None and found.documents[holder]["current-context"] == name:
            found.change(holder)["current-context"] = ""
        found.write()
    for path in found.changed:
        _remove_empty_directory(path.parent)
    return found.changed


def _mentions(found: _Files, name: str) -> bool:
    current = found.current_context_holder()
    return any(found.holder(section, name) for section in SECTIONS) or (
        current is not None and found.documents[current]["current-context"] == name
    )


def _put(content: Document, section: str, item: dict[str, Any]) -> None:
    """Replace the item of that name, keeping fields of it that are not ours, or append it."""
    items = content.get(section) or []
    content[section] = items
    for existing in items:
        if existing["name"] == item["name"]:
            kind = section.removesuffix("s")
            existing[kind] = (existing.get(kind) or {}) | item[kind]
            return
    items.append(item)


def _remove_empty_directory(directory: Path) -> None:
    """kubectl's own directory, which was made for the file; any other is its user's."""
    if directory.name == ".kube":
        with contextlib.suppress(OSError):
            directory.rmdir()


def _is_empty(content: Document) -> bool:
    """Whether nothing is said in it but what every kubeconfig says."""
    said = {key for key, value in content.items() if value}
    return said <= {"apiVersion", "kind"}
