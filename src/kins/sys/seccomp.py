"""seccomp(2) filters of one action, to find out what the kernel makes of it."""

from __future__ import annotations

import ctypes
import errno
import signal

from kins.sys import libc

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER = 2
# linux/filter.h: load the word at an offset, compare, return. The call's number is the first word of the data.
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW = 0x7FFF0000

# A call that no kernel has, on any machine, and an error that it would never give.
UNUSED_CALL = 4000
_OTHER_ERROR = errno.EDOM
REFUSED = 99
# Action by name, and how a process ends that meets it in `outcome_of`.
ACTIONS = {
    "errno": (0x00050000 | _OTHER_ERROR, _OTHER_ERROR),
    "trap": (0x00030000, -signal.SIGSYS),
    "kill": (0x80000000, -signal.SIGSYS),
    "log": (0x7FFC0000, errno.ENOSYS),
}


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


def outcome_of(action: int) -> int:
    """Have this process meet an action at the unused call, and return that call's errno. Raises OSError."""
    check = _Instruction(_JUMP_IF_EQUAL, 0, 1, UNUSED_CALL)
    ways = (_Instruction(_RETURN, 0, 0, action), _Instruction(_RETURN, 0, 0, _ALLOW))
    instructions = (_Instruction * 4)(_Instruction(_LOAD, 0, 0, 0), check, *ways)
    program = _Program(4, ctypes.cast(instructions, ctypes.POINTER(_Instruction)))
    libc.check(libc.library.prctl(PR_SET_NO_NEW_PRIVS, *_words(1, 0, 0, 0)), "prctl")
    arguments = (ctypes.c_ulong(SECCOMP_MODE_FILTER), ctypes.byref(program), *_words(0, 0))
    libc.check(libc.library.prctl(PR_SET_SECCOMP, *arguments), "seccomp")
    libc.library.syscall(ctypes.c_long(UNUSED_CALL))
    return ctypes.get_errno()


def _words(*values: int) -> list[ctypes.c_ulong]:
    return [ctypes.c_ulong(value) for value in values]
