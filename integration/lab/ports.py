"""Free ports on loopback."""

import os
import random
import socket

LOOPBACK = "127.0.0.1"

# Below the kernel's ephemeral range (32768 and up): a port from there could be taken by any outgoing connection while
# the server that owns it is down between a kill and its restart.
_EACH = 3000
# Test runs side by side have ports of their own: one would take what the other's dead server comes back to.
_RUNNER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
_RANGE = range(20000 + _RUNNER * _EACH, 20000 + (_RUNNER + 1) * _EACH)
_handed_out: set[int] = set()


def free_port(host: str = LOOPBACK) -> int:
    """A port of `host` that is free for UDP and TCP, and was not returned before in this process."""
    for port in random.sample(_RANGE, k=1000):
        if port not in _handed_out and _is_free(host, port):
            _handed_out.add(port)
            return port
    raise OSError(f"no free port on {host} between {_RANGE.start} and {_RANGE.stop}")


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp, socket.socket(family, socket.SOCK_STREAM) as tcp:
        # Servers set it too; without it, connections in TIME_WAIT would make the port look taken.
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            udp.bind((host, port))
            tcp.bind((host, port))
        except OSError:
            return False
    return True
