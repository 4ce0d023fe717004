"""Builds BuildKit's programs into src/kins_build/_bin, by the means of the product's own build (../hatch_build.py)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def product() -> ModuleType:
    """The build of the product, which is no installed module."""
    path = Path(__file__).resolve().parent.parent / "hatch_build.py"
    found = importlib.util.spec_from_file_location("kins_hatch_build", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


class BuilderBuildHook(BuildHookInterface[Any]):
    """hatchling's hook for the wheel."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """A Go toolchain, where the machine has none that is new enough."""
        requirement = product().go_requirement()
        return [requirement] if requirement else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the programs and name the machines that they run on."""
        build = product()
        try:
            build.build_builder()
            build_data["tag"] = f"py3-none-{build.PLATFORMS[build.machine()]}"
        except build.BuildError as error:
            self.app.abort(str(error))
        build_data["pure_python"] = False
