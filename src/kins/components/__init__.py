"""One declaration per component, and the configuration files it reads.

Pure functions of a `Layout` (where the cluster's files are) and `Settings` (names, ports, addresses): nothing here
starts, probes or waits.
"""

from kins.components.layout import Layout
from kins.components.settings import COMPONENT_NAMES, CONTROL_PLANE, NODE, PublishedPort, Settings, Simulation

__all__ = ["COMPONENT_NAMES", "CONTROL_PLANE", "NODE", "Layout", "PublishedPort", "Settings", "Simulation"]
