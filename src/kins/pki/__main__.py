"""Certificates without openssl: `python -m kins.pki DIRECTORY [SIGNING-KEY…] < IDENTITIES`, a JSON list of `Identity`.

`kins plan` calls it in the scripts that it prints.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from kins.pki import Identity, create_signing_key, issue


def main(arguments: list[str]) -> None:
    """Make what standard input asks for, and a pair of keys for each name beside the directory's."""
    directory, *signing_keys = arguments
    for name in signing_keys:
        create_signing_key(Path(directory), name)
    issue(Path(directory), msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[Identity, ...]))


if __name__ == "__main__":
    main(sys.argv[1:])
