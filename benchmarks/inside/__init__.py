"""The measuring itself, run inside an environment where only the standard library is certain to be there.

Each program prints one JSON document; times are of the environment's own monotonic clock.
"""
