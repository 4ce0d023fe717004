"""Gives gVisor a clock that root inside can set, as root of a machine can: for a test of what a jump of the clock does.

    python3 settable_clock.py MODULE OUTPUT

MODULE is the directory of gVisor's sources. OUTPUT gets a copy of them with two changed files, and a go.mod for
`go build -modfile` that leads there (-overlay takes no file of the module cache). Upstream's clock_settime(2) always
says EPERM; here the difference to the present time is added to every sample of the host's clock from then on. Nothing
else differs.
"""

import shutil
import sys
from pathlib import Path

CHANGES = {
    "pkg/sentry/time/sampler.go": [
        ('import (\n\t"errors"\n', 'import (\n\t"errors"\n\t"sync/atomic"\n'),
        (
            "// errOverheadTooHigh is",
            "// RealtimeOffset is what clock_settime(2) has added to the host's clock, in nanoseconds.\n"
            "var RealtimeOffset atomic.Int64\n\n// errOverheadTooHigh is",
        ),
        (
            "\ts.ref = ReferenceNS(ts.Nano())\n",
            "\ts.ref = ReferenceNS(ts.Nano())\n\tif c == Realtime {\n"
            "\t\ts.ref += ReferenceNS(RealtimeOffset.Load())\n\t}\n",
        ),
        (
            "\treturn ReferenceNS(ts.Nano()), nil\n",
            "\tif c == Realtime {\n\t\treturn ReferenceNS(ts.Nano() + RealtimeOffset.Load()), nil\n\t}\n"
            "\treturn ReferenceNS(ts.Nano()), nil\n",
        ),
    ],
    "pkg/sentry/syscalls/linux/sys_time.go": [
        (
            '\t"gvisor.dev/gvisor/pkg/sentry/kernel"\n',
            '\t"gvisor.dev/gvisor/pkg/sentry/kernel"\n\tsentrytime "gvisor.dev/gvisor/pkg/sentry/time"\n',
        ),
        (
            "(uintptr, *kernel.SyscallControl, error) {\n\treturn 0, nil, linuxerr.EPERM\n}",
            "(uintptr, *kernel.SyscallControl, error) {\n"
            "\tif args[0].Int() != linux.CLOCK_REALTIME || !t.Credentials().HasRootCapability(linux.CAP_SYS_TIME) {\n"
            "\t\treturn 0, nil, linuxerr.EPERM\n\t}\n"
            "\twanted, err := copyTimespecIn(t, args[1].Pointer())\n"
            "\tif err != nil {\n\t\treturn 0, nil, err\n\t}\n"
            "\tnow := t.Kernel().RealtimeClock().Now().Nanoseconds()\n"
            "\tsentrytime.RealtimeOffset.Add(wanted.ToNsec() - now)\n"
            "\treturn 0, nil, nil\n}",
        ),
    ],
}


def changed(text: str, changes: list[tuple[str, str]], path: str) -> str:
    """The text with every change; each place must be there once."""
    for old, new in changes:
        if text.count(old) != 1:
            sys.exit(f"{path}: not once: {old!r}")
        text = text.replace(old, new)
    return text


def main() -> None:
    """Write the copy and the files beside it."""
    module, output = Path(sys.argv[1]), Path(sys.argv[2])
    copy = output / "gvisor"
    shutil.rmtree(output, ignore_errors=True)
    shutil.copytree(module, copy, copy_function=shutil.copyfile)
    for name, changes in CHANGES.items():
        (copy / name).write_text(changed((module / name).read_text(), changes, name))
    here = Path(__file__).parent
    (output / "go.mod").write_text((here / "go.mod").read_text() + f"\nreplace gvisor.dev/gvisor => {copy}\n")
    shutil.copyfile(here / "go.sum", output / "go.sum")


if __name__ == "__main__":
    main()
