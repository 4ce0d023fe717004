"""`python -m kins.cli`."""

from kins.cli.main import main

main()
