"""A cluster's life: create, wait, stop, delete, status; and its state on disk.

Decides nothing about a single component (`kins.components`) or the sandbox (`kins.sandbox`): it brings their answers
together. The daemon that outlives `kins up` is `kins.cluster.daemon`.
"""
