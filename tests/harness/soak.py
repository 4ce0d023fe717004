"""The default node in gVisor, watched for long, and its report as a document: docs/experiments/soak-default/.

For people: make soak, or python -m tests.harness.soak [--minutes N]
"""

from __future__ import annotations

import argparse
import sys

from tests.harness.experiments import DIRECTORY, REPORTS, fetch_reports, write_index
from tests.harness.gvisor import Sandbox, run_through_pipes
from tests.harness.wheel import kins_tree

SECONDS_TO_START = 130.0


def main() -> int:
    """Bring up a cluster as users do, watch it under load, and write the report; 0 if it stayed healthy."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.soak", description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    minutes = parser.parse_args().minutes
    with Sandbox(kins_tree(), root="overlay") as sandbox:
        sandbox.kins("up", timeout=SECONDS_TO_START)
        code = run_through_pipes(sandbox.command(["kins", "soak", "--minutes", f"{minutes:g}", "--report", REPORTS]))
        fetch_reports(sandbox, DIRECTORY / "soak-default")
    write_index()
    return code


if __name__ == "__main__":
    sys.exit(main())
