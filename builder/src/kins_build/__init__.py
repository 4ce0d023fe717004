"""BuildKit's programs for `kins image build`: a wheel of their own, so that the one of kins stays small."""

from pathlib import Path

BINARIES = Path(__file__).resolve().parent / "_bin"
