"""What knotd's words mean for us: the error of the Backend interface, in a sentence that says where to look."""

import errno
import os
import socket
from pathlib import Path

from zonecut.plugin import BackendError, BackendMisconfigured, BackendRejected, BackendUnavailable

NO_SUCH_NODE = "no such node in zone found"
TOO_MANY_TRANSACTIONS = "too many transactions"
NO_TRANSACTION = "no active transaction"
NO_SUCH_ZONE = "no such zone found"

ABSENT = (NO_SUCH_NODE, "not exists", "no such record in zone found")
"""To a reading command: there is nothing. To `zone-unset`: there was nothing."""

PRESENT = ("such record already exists in zone", "already exists")
"""To `zone-set`: it was there."""

_UNPRINTABLE = "not enough space provided"
"""To a reading command: a record whose RDATA is too short for its type, which knotd takes but cannot show."""

_REJECTED = (
    "parser failed",
    "semantic check",
    "malformed data",
    "name does not belong to the zone",
    "invalid parameter",
    "invalid TTL value",
    "malformed TTL",
    _UNPRINTABLE,
    "CNAME",
)
_READING = ("read", "get", "diff", "status")


def failure(zone: str, command: str, words: str) -> BackendError:
    """The error for a command that failed with these words."""
    head = f"knotd answers zone-{command} for {zone} with {words!r}"
    if words == NO_SUCH_ZONE:
        return BackendMisconfigured(f"{head}: it does not serve the zone; look at `socket` and at the zone's name")
    if words == NO_TRANSACTION:
        return BackendUnavailable(f"{head}: somebody else ended the transaction, or knotd was restarted")
    if command in _READING and words == _UNPRINTABLE:
        return BackendUnavailable(f"{head}: the zone holds a record there that is too short for its type; remove it")
    if any(word in words for word in _REJECTED):
        return BackendRejected(head)
    return BackendUnavailable(f"{head}: see its log")


def not_loaded(zone: str) -> BackendUnavailable:
    """The error for a zone that knotd is configured to serve and does not hold: what is missing there says nothing."""
    return BackendUnavailable(
        f"knotd has not loaded {zone}: it is still at it, or the zone file or journal is broken; see its log and "
        f"`knotc zone-status {zone}`"
    )


def unreachable(path: Path, words: str) -> BackendError:
    """The error for a socket to which no connection came about. The system says more than libknot and knotc do."""
    head = f"no connection to knotd at {path}"
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                return BackendMisconfigured(
                    f"{head}: permission denied; zonecut's user must be in the socket's group (usually knot)"
                )
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                # knotd removes its socket when it ends: this is what a stopped server looks like
                return BackendUnavailable(f"{head}: there is no such socket; is knotd running, and `socket` right?")
            if error.errno == errno.ENOTSOCK or (error.errno == errno.ECONNREFUSED and not path.is_socket()):
                return BackendMisconfigured(f"{head}: that is no socket")
            return BackendUnavailable(f"{head}: {os.strerror(error.errno or 0)}")
    return BackendUnavailable(f"{head}: {words}")
