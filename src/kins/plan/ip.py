"""As much of ip(8) as steps and their scripts call, for sandboxes without it: `python -m kins.plan.ip ARGUMENT…`."""

from __future__ import annotations

import sys

from kins.sys import netlink


def main(arguments: list[str]) -> None:
    """Does what ip does with these arguments. Raises OSError; exits with 2 on any other arguments."""
    match arguments:
        case ["link", "add", name, "type", "bridge"]:
            netlink.create_bridge(name)
        case ["link", "set", name, "up"]:
            netlink.set_up(name)
        case ["link", "del", name]:
            netlink.delete_link(name)
        case ["addr", "add", address, "dev", name]:
            netlink.add_address(name, address)
        case ["addr", "del", address, "dev", name]:
            netlink.delete_address(name, address)
        case ["addr", "show"]:
            sys.stdout.writelines(f"    inet {address} \n" for address in netlink.addresses())
        case _:
            sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
