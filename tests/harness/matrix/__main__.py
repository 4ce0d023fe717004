"""The command: rows by name, or all."""

from __future__ import annotations

import argparse
import subprocess
import sys
import traceback
from pathlib import Path

from tests.harness.matrix import document
from tests.harness.matrix.measuring import measure, save, saved
from tests.harness.matrix.rows import ROWS, Row


def main() -> int:
    """Measure rows of the matrix and make the document of all that were; the number of rows that failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.matrix", description=main.__doc__)
    parser.add_argument("row", nargs="*", help=f"one of: {', '.join(ROWS)} (default: all)")
    parser.add_argument("--report", type=Path, default=document.DOCUMENT, help="default: %(default)s")
    options = parser.parse_args()
    if unknown := set(options.row) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    rows = [ROWS[name] for name in options.row or ROWS]
    failed = [row.name for row in rows if not succeeds(row)]
    document.write(saved(), options.report)
    print(f"{options.report}; failed: {', '.join(failed) or 'none'}", flush=True)
    return len(failed)


def succeeds(row: Row) -> bool:
    """Measure a row and keep its result; the others go on when it fails, which is told."""
    try:
        measured = measure(row)
    except (AssertionError, OSError, RuntimeError, subprocess.SubprocessError):
        traceback.print_exc()
        return False
    save(measured)
    seconds = f"up {measured.up_seconds} s, promise {measured.promise_seconds} s, down {measured.down_seconds} s"
    print(f"{row.name}: {measured.level}; {seconds}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
