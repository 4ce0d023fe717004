"""What kins costs in time and memory, measured; README.md says how, and holds results.

These programs print figures and judge none. What runs inside an environment is in `inside`; the environments are those
of the tests, tests/harness.
"""
