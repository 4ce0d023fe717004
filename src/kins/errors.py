"""The one error type that every layer raises for what a user can understand and act on.

A traceback is for our mistakes; a `KinsError` is for everything else. It says what failed, on what, and what to do
next.
"""

from __future__ import annotations

import errno


class KinsError(Exception):
    """A failure with a cause that can be named.

    `code` is a stable kebab-case word for programs (it appears in JSON output), `hint` one next step that can be
    pasted.
    """

    def __init__(self, message: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint


class UsageError(KinsError):
    """The request itself is wrong (a bad name, flag or file): nothing was changed; the command exits with 2."""


def as_kins_error(error: BaseException) -> KinsError:
    """One of our errors as it is; any other as `system_error` tells it."""
    return error if isinstance(error, KinsError) else system_error(error)


def system_error(error: BaseException) -> KinsError:
    """What the operating system refused (a full disk, a directory that may not be written), as one of our errors."""
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    return KinsError(str(error), code="system-error", hint="df -h" if full else None)
