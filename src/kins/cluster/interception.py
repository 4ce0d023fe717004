"""A node whose software is shown its kernel by a tracer: the rules, and the components that run under them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kins import cgroupfs, intercept
from kins.cluster.spec import Record
from kins.components import Layout, Settings, kubelet
from kins.components.cgroupfs import CONTROL_GROUPS, VERSION
from kins.sandbox import Facts
from kins.sandbox.levels import has_identities
from kins.supervise import Component


def rules(files: Layout, record: Record, facts: Facts) -> bytes:
    """The rules of this node as the tracer reads them: kernel settings and messages that mounts would give, emulated
    control groups, and owners where there is one id for all."""
    silent = not facts.kernel_messages.works
    found = [*intercept.node_rules(kubelet.SYSCTLS, str(files.kernel_settings), without_kernel_messages=silent)]
    if record.decisions.control_groups == "emulated":
        found += [intercept.convert(each) for each in cgroupfs.rules(CONTROL_GROUPS, VERSION)]
    if not has_identities(facts):
        found.append(intercept.OneId())
    return intercept.encode(found)


def address_rules(settings: Settings) -> list[intercept.Rule]:
    """Rules that lead from the cluster's addresses to those of sockets, where pods share the sandbox's network."""
    return [intercept.Address(known, real) for known, real in settings.sockets.items()]


def component_rules(settings: Settings) -> bytes:
    """The rules of components that connect to pods there: they come from the node's address, as everywhere."""
    source = intercept.Source(settings.socket(settings.node_address))
    return intercept.encode([*address_rules(settings), source])


def traced(component: Component, files: Layout, environment: Mapping[str, str] = {}) -> Component:
    """The component as the tracer's child, with more variables in its environment."""
    argv = intercept.command_line(component.argv, str(files.interception_rules))
    return msgspec.structs.replace(component, argv=tuple(argv), environment={**component.environment, **environment})


def reading_groups(component: Component, files: Layout) -> Component:
    """The same for whoever reads control groups."""
    return traced(component, files, cgroupfs.READERS_ENVIRONMENT)
