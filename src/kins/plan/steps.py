"""The closed list of steps that a journal may hold."""

from __future__ import annotations

from kins.plan.files import CreateFile, MakeDirectory
from kins.plan.kernel import AddAddress, AddBridge, MakeControlGroup, SetSysctl
from kins.plan.mounts import BindMount, MountFileSystem, SetPropagation, Unmount

AnyStep = (
    CreateFile
    | MakeDirectory
    | AddAddress
    | AddBridge
    | MakeControlGroup
    | SetSysctl
    | BindMount
    | MountFileSystem
    | SetPropagation
    | Unmount
)
