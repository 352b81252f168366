"""What systemd is told about a service of `Type=notify` (sd_notify(3))."""

import asyncio
import os
import socket

import structlog

_log = structlog.get_logger(__name__)


def notify(state: str) -> None:
    """Send a state such as `READY=1` to the service manager, if there is one that listens."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(state.encode(), address)
    except OSError as error:
        _log.warning("notify.failed", state=state, reason=str(error))


def watchdog_interval() -> float | None:
    """Seconds between two signs of life, half of what the service manager waits (sd_watchdog_enabled(3)).

    None where it does not wait for any from this process.
    """
    microseconds, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or process not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 2_000_000 or None


async def keep_alive(interval: float) -> None:
    """Give signs of life until cancelled: they end when the event loop does not turn any more."""
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval)
