"""A node whose software is shown its kernel by a tracer: the rules, and the components that run under them."""

from __future__ import annotations

import msgspec

from kins import cgroupfs, intercept
from kins.cluster.spec import Record
from kins.components import Layout, kubelet
from kins.components.cgroupfs import CONTROL_GROUPS, VERSION
from kins.sandbox import Facts
from kins.supervise import Component


def rules(files: Layout, record: Record, facts: Facts) -> bytes:
    """The rules of this node as the tracer reads them: kernel settings and messages that mounts would give, and the
    emulated control groups."""
    silent = not facts.kernel_messages.works
    found = [*intercept.node_rules(kubelet.SYSCTLS, str(files.kernel_settings), without_kernel_messages=silent)]
    if record.decisions.control_groups == "emulated":
        found += [intercept.convert(each) for each in cgroupfs.rules(CONTROL_GROUPS, VERSION)]
    return intercept.encode(found)


def traced(component: Component, files: Layout) -> Component:
    """The component as the tracer's child."""
    argv = intercept.command_line(component.argv, str(files.interception_rules))
    environment = component.environment | cgroupfs.READERS_ENVIRONMENT
    return msgspec.structs.replace(component, argv=tuple(argv), environment=environment)
