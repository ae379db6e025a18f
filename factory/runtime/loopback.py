"""Keeps the Ray of one machine on its loopback interface.

Ray replaces a node's address 127.0.0.1 by the machine's own, and then listens on every interface. Where its
clusters are off, as they are on Windows and macOS, it keeps the address and stays on loopback. The switch for
that is read when Ray is imported, so each process has it in its environment and in Ray's constant.

python -m factory.runtime.loopback start ...   # `ray start` for a worker node on loopback, which the switch forbids
"""

import os
import socket
from typing import Any

SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
ENVIRONMENT = {SWITCH: "0", "GLOO_SOCKET_IFNAME": "lo"}
"""What processes of such a Ray have in their environment; gloo listens where the host's name leads to otherwise."""
ADDRESS = "127.0.0.1"
KNOCK_S = 5


def use(alone: bool) -> None:
    """Have this process, and those that it starts, use a Ray on loopback, or one that spans machines.

    Args:
        alone: whether that Ray is on loopback.
    """
    for name, value in ENVIRONMENT.items():
        if alone:
            os.environ[name] = value
        elif os.environ.get(name) == value:
            del os.environ[name]
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = not alone


def is_alone(host: str, port: int) -> bool:
    """Return whether a Ray at an address of this machine listens on loopback only."""
    if host not in (ADDRESS, "localhost"):
        return False
    from ray._raylet import node_ip_address_from_perspective  # type: ignore[attr-defined]  # in C

    own = node_ip_address_from_perspective(None)
    try:
        socket.create_connection((own, port), timeout=KNOCK_S).close()
    except OSError:
        return True
    return bool(own == ADDRESS)


def main() -> Any:
    """Run Ray's command line with addresses as they are given."""
    from ray._private import ray_constants, services
    from ray.scripts import scripts

    services.resolve_ip_for_localhost = lambda host: host
    ray_constants.ENABLE_RAY_CLUSTER = True
    return scripts.main()


if __name__ == "__main__":
    main()
