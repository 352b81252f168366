"""What an answer of named means for us: the error of the Backend interface, in words that say where to look."""

from enum import StrEnum

from zonecut.plugin import BackendConflict, BackendError, BackendMisconfigured, BackendRejected, BackendUnavailable
from zonecut.plugin.tsig import NotAuthentic
from zonecut.protocol.codepoints import Rcode
from zonecut.protocol.envelope import Envelope

CONFLICTS = frozenset((Rcode.NXDOMAIN, Rcode.YXDOMAIN, Rcode.NXRRSET, Rcode.YXRRSET))
"""A prerequisite of an UPDATE does not hold (RFC 2136 section 3.2)."""


class Operation(StrEnum):
    """What was asked of the server."""

    UPDATE = "update"
    QUERY = "query"
    TRANSFER = "transfer"


_REFUSED = {
    Operation.UPDATE: "its update-policy or allow-update must grant the key NS, DS, A and AAAA below the zone's apex, "
    "KEY, SVCB and DSYNC for what zonecut publishes, and the zone must not be frozen",
    Operation.QUERY: "its allow-query and the view's match-clients must let the key in",
    Operation.TRANSFER: 'the zone needs allow-transfer {{ key "{key}"; }};',
}

_TSIG_ERRORS = {
    int(Rcode.BADSIG): "says BADSIG: the secret of the key there is not the one in our key file",
    int(Rcode.BADKEY): "says BADKEY: it has no key of that name and algorithm",
    int(Rcode.BADTIME): "says BADTIME: its clock and ours differ by more than five minutes",
}

_NOT_PRIMARY = (
    "it is not primary for the zone (in the view that the key reaches): look at `server` and at the zone's name"
)


def failure(answer: Envelope, operation: Operation, key: str) -> BackendError:
    """The error for an answer that is authentic and has an RCODE other than NOERROR."""
    if operation is Operation.UPDATE and answer.rcode in CONFLICTS:
        return BackendConflict("named holds something else than was expected of it")
    return _by_rcode(answer.rcode, operation, key)


def doubtful(answer: Envelope, trouble: NotAuthentic, operation: Operation, key: str) -> BackendError:
    """The error for an answer that is not authentic: whatever its RCODE, it is never taken for a success."""
    if trouble.peer_error:
        words = _TSIG_ERRORS.get(trouble.peer_error, f"reports the TSIG error {trouble.peer_error}")
        return BackendMisconfigured(f"named {words} (key {key})")
    if answer.rcode == Rcode.NOERROR or answer.rcode in CONFLICTS:
        return BackendMisconfigured(f"the {operation}'s answer {trouble.reason}: is it named that answers? (key {key})")
    error = _by_rcode(answer.rcode, operation, key)
    # BIND answers what it cannot parse before it has looked at the TSIG.
    return type(error)(f"{error.reason} (the answer {trouble.reason})")


def _by_rcode(rcode: int, operation: Operation, key: str) -> BackendError:
    head = f"named answers {operation} with {rcode_text(rcode)}"
    if rcode == Rcode.REFUSED:
        return BackendMisconfigured(f"{head}: {_REFUSED[operation].format(key=key)} (key {key})")
    if rcode in (Rcode.NOTAUTH, Rcode.NOTZONE, Rcode.NOTIMP):
        return BackendMisconfigured(f"{head}: {_NOT_PRIMARY}")
    if rcode == Rcode.SERVFAIL:
        return BackendUnavailable(f"{head}: see its log")
    return BackendRejected(head)


def rcode_text(rcode: int) -> str:
    """The mnemonic of a response code, or its number."""
    try:
        return Rcode(rcode).name
    except ValueError:
        return f"RCODE {rcode}"
