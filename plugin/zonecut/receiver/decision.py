"""What a message asks for, and whether it may: the same steps, in the same order, for the receiver and for `explain`.

    octets -> is_request -> envelope -> hear -> Admitted -> signed_by -> wanted -> a change, an upload, a roll
                                             -> SoaQuery, KeyStateQuery

Pure. What has to be fetched in between, the keys of a signer, is handed in by who walks them; what counts requests is
handed in as well, since only a receiver does. What a change makes of a delegation is for `Case` to say.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from zonecut.protocol import names
from zonecut.protocol.codepoints import CodePoints, EdeCode, Opcode, Rcode
from zonecut.protocol.envelope import HEADER_LENGTH, Envelope
from zonecut.protocol.errors import MalformedMessage, Refusal
from zonecut.protocol.keystate import Inquiry, Malformed
from zonecut.protocol.update import KeyRoll, KeyUpload, Request, read_request
from zonecut.receiver.change.ordering import check_trusted_anew
from zonecut.receiver.keys.keystate import Inquiries, is_key_query
from zonecut.receiver.message.admission import Admitted, Limits, admit, check_edns
from zonecut.receiver.message.authentication import (
    Authenticated,
    SignatureSettings,
    authenticate,
    authenticate_upload,
    brought_keys,
)
from zonecut.receiver.message.foreign_tsig import check_tsig
from zonecut.receiver.message.responder import is_soa_query
from zonecut.store import RingKey

_QUERY = int(Opcode.QUERY)


@dataclass(frozen=True, slots=True)
class SoaQuery:
    """A client looks for the zone of a name, as nsupdate does first: `zone` is ours."""

    zone: bytes


@dataclass(frozen=True, slots=True)
class KeyStateQuery:
    """A child in `zone`, which is ours, asks what its key is worth."""

    zone: bytes
    child: bytes
    asked: Inquiry | Malformed


Heard = Admitted | SoaQuery | KeyStateQuery


def is_request(wire: bytes) -> bool:
    """False for octets without a header to answer to, and for a response: answering those makes loops."""
    return len(wire) >= HEADER_LENGTH and not wire[2] & 0x80


def hear(
    envelope: Envelope,
    zones: frozenset[bytes],
    limits: Limits,
    inquiries: Inquiries,
    codepoints: CodePoints,
    count: Callable[[], None],
) -> Heard:
    """What a message is, as far as that is to be seen without a key; `zones` are the parent zones of ours.

    `count` raises Refusal where too many come from its source. Raises MalformedMessage, Refusal.
    """
    check_edns(envelope)
    count()
    check_tsig(envelope, codepoints.signature_type)
    if envelope.opcode != _QUERY:
        return admit(envelope, zones, limits, codepoints.signature_type)
    if is_soa_query(envelope):
        zone = nearest_zone(envelope.name(envelope.questions[0].start), zones)
        if zone is not None:
            return SoaQuery(zone)
    elif is_key_query(envelope):
        asked, child = inquiries.read(envelope), envelope.name(envelope.questions[0].start)
        zone = nearest_zone(child, zones)
        if asked is not None and zone is not None:
            return KeyStateQuery(zone, child, asked)
    reason = "only the SOA of the zones served and KeyState are answered here"
    raise Refusal("query", reason, ede=EdeCode.NOT_SUPPORTED)


def nearest_zone(name: bytes, zones: Collection[bytes]) -> bytes | None:
    """The zone of these that is nearest above a name, or at it; None if there is none."""
    while name not in zones:
        if name == names.ROOT:
            return None
        name = names.parent(name)
    return name


def signed_by(
    admitted: Admitted,
    keys: Sequence[RingKey],
    now: int,
    settings: SignatureSettings,
    codepoints: CodePoints,
    count: Callable[[], None],
) -> Authenticated:
    """Under which key a request is signed: one of these, or one that it brings. `now` in seconds since the epoch.

    `count` raises Refusal where its source uploads too many keys, which is what anybody can do. Raises Refusal,
    MalformedMessage.
    """
    refusal: Refusal | None = None
    try:
        authenticated = authenticate(admitted, keys, now, settings, codepoints)
        if authenticated.is_trusted:
            return authenticated
    except Refusal as error:
        refusal = error
    brings_key = any(brought_keys(admitted))
    if brings_key:
        count()
    if refusal is None:
        return authenticated
    if brings_key:
        uploaded = authenticate_upload(admitted, now, settings, codepoints)
        if uploaded is not None:
            return uploaded
    raise refusal


def wanted(authenticated: Authenticated, now: int) -> Request | None:
    """What a request asks for, as far as the key that signed it may ask; None: a key that is trusted could ask for it.

    Under a key that is not trusted, that is an upload of this very key and nothing else: None where the key is known,
    whose holder is told what it waits for. An upload of further keys under a trusted one is a roll; of this very key,
    what is so already. `now` in seconds since the epoch. Raises Refusal, MalformedMessage.
    """
    admitted, key, stored = authenticated.admitted, authenticated.key, authenticated.stored
    try:
        request = read_request(admitted.envelope, admitted.zone, admitted.signer, key.rdata)
    except (Refusal, MalformedMessage):
        if stored is None or authenticated.is_trusted:
            raise
        return None
    if authenticated.is_trusted:
        check_trusted_anew(stored, authenticated.signature.inception, now)
        if isinstance(request, KeyUpload) and len(request.keys) > 1:
            return KeyRoll(request.child, request.operations)
        return request
    if isinstance(request, KeyUpload):
        return request
    if stored is None:
        reason = "a key that is not trusted is uploaded alone and deletes none"
        raise Refusal("key-trusted", reason, ede=EdeCode.PROHIBITED)
    return None


def format_error(error: MalformedMessage) -> Refusal:
    """The refusal of what cannot be read."""
    return Refusal("malformed", error.reason, Rcode.FORMERR)
