"""Names below which the operators of a child's name servers vouch for it (RFC 9615 section 2)."""

from zonecut.protocol import names

_KEY = b"\x08_sig0key"
_SIGNAL = b"\x07_signal"


def signalling_name(child: bytes, server: bytes) -> bytes | None:
    """Where KEY records of `child` stand that are vouched for by the operator of the name server `server`.

    `_sig0key.<child>._signal.<server>`; None where that is too long to be a name.
    """
    name = _KEY + child[:-1] + _SIGNAL + server
    return name if len(name) <= names.MAX_NAME else None
