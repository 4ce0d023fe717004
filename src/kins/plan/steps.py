"""The closed list of steps that a journal may hold."""

from __future__ import annotations

from kins.plan.control_groups import ClearControlGroups, EnterControlGroups
from kins.plan.files import CreateFile, MakeDirectory
from kins.plan.kernel import AddAddress, AddBridge, MakeControlGroup, SetSysctl
from kins.plan.mounts import BindMount, CoverDirectory, MountFileSystem, SetPropagation, Unmount

AnyStep = (
    CreateFile
    | MakeDirectory
    | AddAddress
    | AddBridge
    | MakeControlGroup
    | ClearControlGroups
    | EnterControlGroups
    | SetSysctl
    | BindMount
    | CoverDirectory
    | MountFileSystem
    | SetPropagation
    | Unmount
)
