"""The mount and umount that a sandbox without them gets, against the real ones of util-linux: line by line alike."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kins.components import kubelet

SUPPLIED = f"{sys.executable} -P -m kins.sys.mount_program"
UTIL_LINUX = "env"
# A place of the test's own, and after the commands the mounts below it: target, options, propagation, kind, data.
FRAME = """
set -u
mount --make-rprivate / && mount -t tmpfs frame "$1" && cd "$1" && mkdir source target lower && touch file over
{commands}
grep " $1/" /proc/self/mountinfo | sed -E 's/^[0-9]+ [0-9]+ [0-9]+:[0-9]+ //; s/(shared|master):[0-9]+/\\1/'
"""
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="mounting needs root")

# What the kubelet calls (k8s.io/mount-utils, mount_linux.go; pkg/volume/util/subpath), and what plugins may.
COMMAND_LINES = [
    "{} mount -t tmpfs -o size=65536 tmpfs $1/target",
    "{} mount -t tmpfs -o size=65536,nosuid,nodev,noexec,mode=0700 tmpfs $1/target",
    "{} mount -t tmpfs -o ro,noatime tmpfs $1/target",
    "{} mount -o bind $1/source $1/target && {} mount -o bind,remount,ro,relatime $1/source $1/target",
    "{} mount --no-canonicalize -o bind $1/file $1/over",
    "exec 5<$1/source && {} mount --no-canonicalize -o bind /proc/$$/fd/5 $1/target",
    "{} mount --bind $1/source $1/target",
    "{} mount -o bind,ro,nosuid $1/source $1/target",
    "{} mount -t tmpfs a $1/source && mkdir $1/source/b && {} mount -t tmpfs b $1/source/b && "
    "{} mount -o rbind,rshared $1/source $1/target",
    "{} mount -t tmpfs a $1/target && {} mount --make-rshared $1/target && {} mount --make-rslave $1/target",
    "{} mount -t tmpfs -o nosuid a $1/target && {} mount -o remount,suid,size=4096 $1/target",
    "{} mount -t tmpfs a $1/target && {} umount $1/target",
    "{} mount -t tmpfs a $1/target && cd $1/target && {} umount $1/target",
    "{} mount -t tmpfs a $1/target && cd $1/target && {} umount --lazy $1/target",
    "{} mount -t tmpfs a $1/target && {} umount -f $1/target",
    "{} umount $1/source",
]


def outcome(command_line: str, program: str, place: Path) -> tuple[str, str]:
    """The mounts that a command line leaves with one of the two programs, and what it says."""
    script = FRAME.format(commands=command_line.replace("{}", program) + "\necho exit $?")
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout, done.stderr


@needs_root
@pytest.mark.parametrize("command_line", COMMAND_LINES)
def test_does_and_says_the_same_as_util_linux(command_line: str, tmp_path: Path) -> None:
    """The same mounts with the same options, the same exit status, the same words."""
    wanted = outcome(command_line, UTIL_LINUX, tmp_path)
    assert "exit " in wanted[0]
    assert outcome(command_line, SUPPLIED, tmp_path) == wanted


@needs_root
def test_says_what_the_kernel_refused(tmp_path: Path) -> None:
    """An unknown kind of file system, with util-linux's exit status."""
    mounts, said = outcome("{} mount -t nonsense a $1/target", SUPPLIED, tmp_path)
    assert mounts == "exit 32\n"
    assert said == f"mount: {tmp_path}/target: mount nonsense: No such device\n"


@pytest.mark.parametrize(
    "arguments",
    ["", "fsck /x", "mount", "mount --frobnicate /a /b", "mount a b c", "mount /a /b", "umount", "umount /a /b"],
)
def test_refuses_what_it_does_not_understand(arguments: str) -> None:
    """By status 1, like util-linux, and with one line."""
    command = [*SUPPLIED.split(), *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


def test_programs_on_the_path_of_the_kubelet(tmp_path: Path) -> None:
    """What is missing; where unmounting must be lazy, it is in both forms."""

    def called(*supplied: str, lazy: bool = False) -> dict[str, str]:
        texts = kubelet.program_texts(supplied, lazy=lazy)
        return {name: text.splitlines()[-1] for name, text in texts.items()}

    both = called("mount", "umount")
    assert both == {name: f'exec {SUPPLIED} {name} "$@"' for name in ("mount", "umount")}
    assert called(lazy=True)["umount"].endswith('exec umount -l "$@"')
    assert called("umount", lazy=True)["umount"].endswith(f'exec {SUPPLIED} umount -l "$@"')
    assert called() == {}
    command = ["sh", "-c", kubelet.program_texts(("umount",), lazy=False)["umount"], "umount", str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stderr
    assert said.startswith(f"umount: {tmp_path}: ")
