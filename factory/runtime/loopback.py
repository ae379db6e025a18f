"""Restricts the Ray of one machine to its loopback interface.

Ray replaces a node's address 127.0.0.1 with the machine's own, and then listens on every interface. With
clusters disabled, as on Windows and macOS, it keeps the address and stays on loopback. The switch for this is
read when Ray is imported, so each process needs it in its environment and in Ray's constant.

python -m factory.runtime.loopback start ...   # `ray start` for a worker node on loopback, which the switch forbids
"""

import os
import socket
from typing import Any

SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
ENVIRONMENT = {SWITCH: "0", "GLOO_SOCKET_IFNAME": "lo"}
"""Environment of the processes of such a Ray; otherwise gloo listens on the address of the host name."""
ADDRESS = "127.0.0.1"
CONNECT_TIMEOUT_S = 5


def configure(on_loopback: bool) -> None:
    """Configure this process, and those that it starts, for a Ray on loopback or one that spans machines."""
    for name, value in ENVIRONMENT.items():
        if on_loopback:
            os.environ[name] = value
        elif os.environ.get(name) == value:
            del os.environ[name]
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = not on_loopback


def is_on_loopback(host: str, port: int) -> bool:
    """Return whether the Ray at an address of this machine listens on loopback only."""
    if host not in (ADDRESS, "localhost"):
        return False
    from ray._raylet import node_ip_address_from_perspective  # type: ignore[attr-defined]  # in C

    own = node_ip_address_from_perspective(None)
    try:
        socket.create_connection((own, port), timeout=CONNECT_TIMEOUT_S).close()
    except OSError:
        return True
    return bool(own == ADDRESS)


def main() -> Any:
    """Run Ray's command line with addresses as given."""
    from ray._private import ray_constants, services
    from ray.scripts import scripts

    services.resolve_ip_for_localhost = lambda host: host
    ray_constants.ENABLE_RAY_CLUSTER = True
    return scripts.main()


if __name__ == "__main__":
    main()
