"""All experiments, in order."""

from __future__ import annotations

from kins.errors import UsageError
from kins.experiments import all_layers, control_plane, docker, fake_network, fuse_groups, stock_worker, traced_worker
from kins.experiments.model import Experiment

EXPERIMENTS = (
    control_plane.EXPERIMENT,
    stock_worker.EXPERIMENT,
    docker.EXPERIMENT,
    traced_worker.PLAIN,
    fake_network.EXPERIMENT,
    traced_worker.WITH_STATFS,
    fuse_groups.EXPERIMENT,
    all_layers.EXPERIMENT,
)


def by_number(number: str) -> Experiment:
    """The experiment of a number such as `02` or `2`. Raises UsageError."""
    for experiment in EXPERIMENTS:
        if experiment.number == number.zfill(2):
            return experiment
    known = ", ".join(each.number for each in EXPERIMENTS)
    raise UsageError(f"there is no experiment {number!r}", code="unknown-experiment", hint=f"one of: {known}, all")
