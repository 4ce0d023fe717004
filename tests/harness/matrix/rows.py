"""The rows: how each sandbox is made, who uses it, and what follows from its facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from tests.harness import BUILD, ROOT
from tests.harness.environment import Environment, image_binds
from tests.harness.gvisor import Sandbox, debian_runsc
from tests.harness.images import image_archives
from tests.harness.native import Native
from tests.harness.rootfs import USER_ID
from tests.harness.wheel import kins_tree

NODE, FAKE = "node", "fake"
# How a node is had where the sandbox does not give all that it asks for, in this order.
IN_USER_NAMESPACE, SHARING, EMULATED, TRACED = "user namespace", "shared network", "emulated control groups", "tracer"

CAPABILITIES = {"all": "all capabilities", "docker": "Docker's default capabilities"}
NETWORKS = {"none": "no network", "sandbox": "a network of its own", "host": "the host's network"}
ROOTS = {"overlay": "overlay root", "9p": "9p root"}


@dataclass(frozen=True)
class Row:
    """One sandbox. `expected` is the level in the words above; `user` is who calls kins there."""

    name: str
    sandbox: str
    make: Callable[[], Environment]
    expected: str
    user: int = 0

    @property
    def on_gvisor(self) -> bool:
        return self.name.startswith("gvisor")


def node(*ways: str) -> str:
    """A node that is had in these ways."""
    return f"{NODE} ({', '.join(ways)})" if ways else NODE


def gvisor(
    root: str = "overlay", capabilities: str = "all", network: str = "none", *, old: bool = False
) -> Environment:
    """A gVisor sandbox with the wheel, the images and the tests' programs."""
    return Sandbox(
        kins_tree(),
        root=root,
        capabilities=capabilities,
        network=network,
        program=debian_runsc() if old else None,
        binds={**image_binds(image_archives()), BUILD / "tools": "/tools", ROOT / "tests/charts": "/charts"},
    )


def native(capabilities: str = "all", **options: bool) -> Environment:
    """This machine's kernel, with the same in it; for `options` see `Native`."""
    return Native(
        kins_tree(),
        capabilities=capabilities,
        **options,
        binds={**image_binds(image_archives()), BUILD / "tools": "/tools", ROOT / "tests/charts": "/charts"},
    )


def gvisor_row(root: str, capabilities: str, network: str) -> Row:
    """One of the twelve of present gVisor, as root."""
    return Row(
        name=f"gvisor-{root}-{capabilities}-{network}",
        sandbox=f"gVisor, {ROOTS[root]}, {CAPABILITIES[capabilities]}, {NETWORKS[network]}",
        make=lambda: gvisor(root, capabilities, network),
        expected=expected_in_gvisor(capabilities, network),
    )


def expected_in_gvisor(capabilities: str, network: str) -> str:
    """Nothing can be mounted without CAP_SYS_ADMIN, but in a user namespace; with the host's network a new network
    namespace has no IPv4."""
    own = () if capabilities == "all" else (IN_USER_NAMESPACE,)
    return node(*own, *((SHARING,) if network == "host" else ()))


OTHERS = (
    Row(
        "gvisor-user",
        "gVisor, an ordinary user",
        lambda: gvisor(capabilities="docker"),
        node(IN_USER_NAMESPACE, EMULATED, TRACED),
        USER_ID,
    ),
    Row("gvisor-2022", "gVisor of 2022 (Debian's package), 9p root", lambda: gvisor("9p", old=True), FAKE),
    Row("native-root", "Linux, root", native, NODE),
    Row(
        "native-docker",
        "Linux, root with Docker's default capabilities, user namespaces allowed",
        lambda: native("docker"),
        node(IN_USER_NAMESPACE),
    ),
    Row(
        "native-groups",
        "Linux, root, control groups read-only",
        lambda: native(read_only_groups=True),
        node(EMULATED, TRACED),
    ),
    Row("native-user", "Linux, an ordinary user", native, node(IN_USER_NAMESPACE, EMULATED, TRACED), USER_ID),
    Row(
        "native-user-alone",
        "Linux, an ordinary user, no user namespaces",
        lambda: native(user_namespaces=False),
        FAKE,
        USER_ID,
    ),
    Row(
        "native-unshare",
        "Linux, root in a container of `unshare`, /sys and /proc/sys read-only",
        lambda: native(read_only_kernel=True),
        NODE,
    ),
)

ROWS = {row.name: row for row in (*(gvisor_row(*kind) for kind in product(ROOTS, CAPABILITIES, NETWORKS)), *OTHERS)}
