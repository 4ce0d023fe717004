"""The matrix: kins in every kind of sandbox that can be made here, each held to the level that it carries.

`rows` says which sandboxes there are and what is expected of each, `promises` does with a cluster what its level
promises, `measuring` takes one row from start to end, `document` makes docs/reference/sandboxes.md of all that was
measured. How sandboxes are made is in the modules beside this package, and the facts of some are in tests/unit/facts/
(`tests.harness.recorded`).

For people: make matrix, or python -m tests.harness.matrix [ROW…] [--report FILE]
"""
