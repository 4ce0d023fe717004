"""The one place where libc is called and where its errors become exceptions."""

from __future__ import annotations

import ctypes
import errno
import os

library = ctypes.CDLL(None, use_errno=True)

REFUSALS = {
    errno.ENOSYS: "this sandbox's kernel does not have it",
    errno.EPERM: "this sandbox does not allow it",
}


def check(result: int, call: str, path: str | None = None) -> int:
    """Pass a libc result on, or raise OSError with the call's name and path, as sandboxes are known to refuse it."""
    if result != -1:
        return result
    number = ctypes.get_errno()
    refusal = f" ({REFUSALS[number]})" if number in REFUSALS else ""
    raise OSError(number, f"{call}: {os.strerror(number)}{refusal}", path)
