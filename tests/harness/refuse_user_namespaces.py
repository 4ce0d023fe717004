"""Become a command for which user namespaces are refused. Run inside, with Python's standard library alone.

unshare(2) and clone(2) with CLONE_NEWUSER give EPERM; clone3(2), whose flags a filter cannot read, gives ENOSYS, after
which libc asks clone(2). Numbers: seccomp(2), linux/filter.h, linux/audit.h, asm/unistd.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

CLONE_NEWUSER = 0x10000000
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
PR_SET_NO_NEW_PRIVS = 38
ALLOW, ERROR = 0x7FFF0000, 0x00050000
# The number of the call, and the lower half of its first argument, in struct seccomp_data.
CALL, FIRST_ARGUMENT = 0, 16
LOAD, JUMP_EQUAL, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
# clone, unshare; clone3 is 435 everywhere.
CALLS = {"x86_64": (56, 272), "aarch64": (220, 97)}
CLONE3 = 435


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def instructions() -> bytes:
    """The filter. Jumps count the instructions to skip, when the answer is yes and when it is no."""
    clone, unshare = CALLS[platform.machine()]
    lines = [
        (LOAD, 0, 0, CALL),
        (JUMP_EQUAL, 0, 1, CLONE3),
        (RETURN, 0, 0, ERROR | errno.ENOSYS),
        (JUMP_EQUAL, 1, 0, clone),
        (JUMP_EQUAL, 0, 3, unshare),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (JUMP_ANY_BIT, 0, 1, CLONE_NEWUSER),
        (RETURN, 0, 0, ERROR | errno.EPERM),
        (RETURN, 0, 0, ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def refuse() -> None:
    """From now on, for this process and all that it starts. Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    code = instructions()
    program = Program(len(code) // 8, code)
    for arguments in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if library.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    refuse()
    os.execvp(sys.argv[1], sys.argv[1:])
