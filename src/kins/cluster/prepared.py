"""What lies in a cluster's directory before its components start, as data: made by `kins up`, printed by `kins plan`.

Unlike steps (`kins.plan`) these are undone together, by the removal of the directory.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import msgspec

from kins import kubeconfig
from kins.plan import shell


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """Something at a path in the cluster's directory; `because` says who needs it."""

    path: str
    because: str

    def make(self) -> None:
        """Put it there, whatever an earlier life of the cluster left. Raises OSError."""
        raise NotImplementedError

    def script(self) -> str:
        """Shell that does the same."""
        raise NotImplementedError


class TextFile(Prepared, frozen=True, kw_only=True):
    """A file of whole lines."""

    content: str
    executable: bool = False

    def make(self) -> None:
        path = Path(self.path)
        path.write_text(self.content)
        if self.executable:
            path.chmod(0o755)

    def script(self) -> str:
        path = shlex.quote(self.path)
        text = shell.here_document(f"cat > {path}", self.content)
        return f"{text}\nchmod 755 {path}" if self.executable else text


class Kubeconfig(Prepared, frozen=True, kw_only=True):
    """A kubeconfig with one cluster, made of files of the public key infrastructure."""

    name: str
    server: str
    authority: str
    certificate: str
    key: str

    def entry(self) -> kubeconfig.Entry:
        """The cluster as it is merged into other kubeconfigs. Raises OSError."""
        authority, certificate, key = (Path(path).read_bytes() for path in (self.authority, self.certificate, self.key))
        return kubeconfig.Entry(self.name, self.server, authority, certificate, key)

    def make(self) -> None:
        kubeconfig.write_private(Path(self.path), kubeconfig.dump(kubeconfig.build(self.entry())))

    def script(self) -> str:
        data = map(shell.base64_of, (self.authority, self.certificate, self.key))
        text = kubeconfig.dump(kubeconfig.template(self.name, self.server, *data)).decode()
        return shell.here_document(f"cat > {shlex.quote(self.path)}", text, expands=True)


class SymbolicLink(Prepared, frozen=True, kw_only=True):
    """A link to a path that need not exist."""

    target: str

    def make(self) -> None:
        path = Path(self.path)
        path.unlink(missing_ok=True)
        path.symlink_to(self.target)

    def script(self) -> str:
        return f"ln -s {shlex.quote(self.target)} {shlex.quote(self.path)}"


class EmptyDirectory(Prepared, frozen=True, kw_only=True):
    """A directory for its owner only, without what an earlier life of the cluster left in it."""

    def make(self) -> None:
        _remove(Path(self.path))
        Path(self.path).mkdir(mode=0o700)

    def script(self) -> str:
        path = shlex.quote(self.path)
        return f"rm -rf {path} && mkdir {path}"


class Nothing(Prepared, frozen=True, kw_only=True):
    """What an earlier life of the cluster may have left, and this one must not find."""

    def make(self) -> None:
        _remove(Path(self.path))

    def script(self) -> str:
        return f"rm -rf {shlex.quote(self.path)}"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
