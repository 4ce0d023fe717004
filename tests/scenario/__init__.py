"""What a user does, from the wheel alone, on this machine and in gVisor: up, real software in pods, down.

Every test runs in each environment; `pytest -n 3` runs the three side by side.
"""
