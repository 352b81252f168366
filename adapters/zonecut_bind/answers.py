"""What an answer of the server means for us: the error of the Backend interface, in words that say where to look."""

from zonecut.plugin import BackendConflict, BackendError, BackendMisconfigured, BackendRejected, BackendUnavailable
from zonecut.plugin.dns.tsig import NotAuthentic
from zonecut.protocol.codepoints import Rcode, rcode_text
from zonecut.protocol.envelope import Envelope
from zonecut_bind.dialect import Operation
from zonecut_bind.server import Server

CONFLICTS = frozenset((Rcode.NXDOMAIN, Rcode.YXDOMAIN, Rcode.NXRRSET, Rcode.YXRRSET))
"""A prerequisite of an UPDATE does not hold (RFC 2136 section 3.2)."""

_TSIG_ERRORS = {
    int(Rcode.BADSIG): "says BADSIG: the secret of the key there is not the one in our key file",
    int(Rcode.BADKEY): "says BADKEY: {unknown_key}",
    int(Rcode.BADTIME): "says BADTIME: its clock and ours differ by more than five minutes",
}


def failure(answer: Envelope, operation: Operation, server: Server) -> BackendError:
    """The error for an answer that is authentic and has an RCODE other than NOERROR."""
    if operation is Operation.UPDATE and answer.rcode in CONFLICTS:
        return BackendConflict(f"{server.dialect.name} holds something else than was expected of it")
    return _by_rcode(answer.rcode, operation, server)


def doubtful(answer: Envelope, trouble: NotAuthentic, operation: Operation, server: Server) -> BackendError:
    """The error for an answer that is not authentic: whatever its RCODE, it is never taken for a success."""
    key, name = server.key_name, server.dialect.name
    if trouble.peer_error:
        unknown_key = server.dialect.unknown_key.format(key=key)
        words = _TSIG_ERRORS.get(trouble.peer_error, f"reports the TSIG error {trouble.peer_error}")
        words = words.format(unknown_key=unknown_key)
        return BackendMisconfigured(f"{name} {words} (key {key})")
    if answer.rcode == Rcode.NOERROR or answer.rcode in CONFLICTS:
        return BackendMisconfigured(
            f"the {operation}'s answer {trouble.reason}: is it {name} that answers? (key {key})"
        )
    error = _by_rcode(answer.rcode, operation, server)
    # BIND answers what it cannot parse before it has looked at the TSIG.
    return type(error)(f"{error.reason} (the answer {trouble.reason})")


def _by_rcode(rcode: int, operation: Operation, server: Server) -> BackendError:
    key, dialect = server.key_name, server.dialect
    head = f"{dialect.name} answers {operation} with {rcode_text(rcode)}"
    if rcode == Rcode.REFUSED:
        return BackendMisconfigured(f"{head}: {dialect.refused[operation].format(key=key)} (key {key})")
    if rcode in (Rcode.NOTAUTH, Rcode.NOTZONE, Rcode.NOTIMP):
        return BackendMisconfigured(f"{head}: {dialect.elsewhere.format(key=key)}")
    if rcode == Rcode.SERVFAIL:
        return BackendUnavailable(f"{head}: see its log")
    return BackendRejected(head)
