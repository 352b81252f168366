"""What systemd is told about a service of `Type=notify` (sd_notify(3))."""

import os
import socket


def notify(state: str) -> None:
    """Send a state such as `READY=1` to the service manager, if there is one."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.sendto(state.encode(), address)
