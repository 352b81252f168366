"""How a hostile or broken receiver behaves (`lab.scripted.hostile`). Each is a `Manner`, or makes one."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, repeat
from typing import Any

from lab.scripted.hostile import Manner, Received, Reply
from signer import Signer
from zonecut.protocol import message
from zonecut.protocol.codepoints import DEFAULT, Rcode, RRClass, RRType
from zonecut.protocol.ede import ExtendedError
from zonecut.protocol.envelope import HEADER_LENGTH, UPDATE, Envelope, read_name, read_options
from zonecut.protocol.flags import QUERY_RESPONSE, TRUNCATED
from zonecut.protocol.keys import Key, verifier
from zonecut.protocol.keystate import KeyStateOption
from zonecut.protocol.sig0 import signatures

# What is said


def silent(_: Received) -> Sequence[Reply]:
    """Nothing; a connection stays open."""
    return ()


def accepting(_: Received) -> Sequence[Reply]:
    """NOERROR, signed, to everything, and nothing is done: to an inquiry, without a word about the key."""
    return (Reply(),)


def refusing(rcode: int = Rcode.REFUSED, error: int | None = None, text: str = "") -> Manner:
    """Always this RCODE, signed, with an extended error if one is given."""
    options = b"" if error is None else ExtendedError(error, text).to_option()
    return lambda _: (Reply(rcode, options),)


badkey = refusing(Rcode.BADKEY)
badsig = refusing(Rcode.BADSIG)


def telling(state: int, text: str = "", updates: Manner = accepting) -> Manner:
    """This KEY-STATE to every inquiry, about the key that it asks for; UPDATEs are answered by another manner."""

    def manner(received: Received) -> Sequence[Reply]:
        key_id = _key_asked_for(received)
        if received.is_update or key_id is None:
            return updates(received)
        return (Reply(options=KeyStateOption(key_id, state, 0, text).to_option(DEFAULT)),)

    return manner


def in_turn(*manners: Manner) -> Manner:
    """One after the other, a message each, and the last one for ever: `in_turn(refusing(), accepting)`."""
    order = chain(manners[:-1], repeat(manners[-1]))
    return lambda received: next(order)(received)


def for_updates(updates: Manner, others: Manner) -> Manner:
    """One manner for UPDATEs, another for the rest."""
    return lambda received: (updates if received.is_update else others)(received)


def applying(apply: Callable[[Received], None], manner: Manner) -> Manner:
    """With each UPDATE something is done first: `PlayedParent.apply` puts the change into the parent zone."""

    def wrapped(received: Received) -> Sequence[Reply]:
        if received.is_update:
            apply(received)
        return manner(received)

    return wrapped


# How it is signed


def unsigned(manner: Manner) -> Manner:
    return _altered(manner, signed=False)


def signed_by(stranger: Signer, manner: Manner) -> Manner:
    """By another key."""
    return _altered(manner, signer=stranger.pair)


def message_only(manner: Manner) -> Manner:
    """Over the response alone, without the request."""
    return _altered(manner, form="message-only")


def outdated(seconds: float, manner: Manner) -> Manner:
    """With a signature that was made so many seconds ago."""
    return _altered(manner, age=seconds)


# How it is sent


def slow(seconds: float, manner: Manner) -> Manner:
    """So much later."""
    return _altered(manner, delay=seconds)


def dripping(seconds: float, manner: Manner) -> Manner:
    """Over TCP, one octet at a time with a pause after each."""
    return _altered(manner, drip=seconds)


def truncated(manner: Manner) -> Manner:
    """Over UDP with TC set."""
    return lambda received: manner(received) if received.transport == "tcp" else always_truncated(manner)(received)


def always_truncated(manner: Manner) -> Manner:
    """With TC set, over TCP, too."""
    return _altered(manner, flags=TRUNCATED)


def closing(_: Received) -> Sequence[Reply]:
    """The connection is closed instead of an answer."""
    return (Reply(octets=b"", framed=False),)


# What is no answer


def garbage(_: Received) -> Sequence[Reply]:
    """Octets that mean nothing."""
    return (Reply(octets=os.urandom(300)),)


def unframed(_: Received) -> Sequence[Reply]:
    """Over TCP, a length to which the rest never comes."""
    return (Reply(octets=b"\xff\xff" + bytes(100), framed=False),)


def wrong_id(received: Received) -> Sequence[Reply]:
    """An unsigned response to another message."""
    return (Reply(octets=_header(received.envelope.id ^ 1, QUERY_RESPONSE)),)


def echoing(received: Received) -> Sequence[Reply]:
    """The request itself: QR is not set."""
    return (Reply(octets=received.wire),)


def other_question(received: Received) -> Sequence[Reply]:
    """A response about the root."""
    flags = QUERY_RESPONSE | received.envelope.flags
    octets = _header(received.envelope.id, flags, questions=1) + b"\0" + bytes((0, 6, 0, 1))
    return (Reply(octets=octets),)


def huge(received: Received) -> Sequence[Reply]:
    """As long as a message can be, of the smallest records that there are: 5,957 of them, unsigned."""
    flags = QUERY_RESPONSE | received.envelope.flags
    count = (0xFFFF - HEADER_LENGTH) // 11
    head = received.envelope.id.to_bytes(2) + flags.to_bytes(2) + bytes(6) + count.to_bytes(2)
    return (Reply(octets=head + count * message.record(b"\0", 65280, RRClass.IN, 0)),)


def babbling(manner: Manner) -> Manner:
    """Strays before the answer."""
    return lambda received: [*wrong_id(received), *echoing(received), *manner(received)]


def babbling_for_ever(received: Received) -> Sequence[Reply]:
    """Nothing but strays."""
    return list(wrong_id(received)) * 1000


# Receivers in the field (PROTOCOL section 4)


def re_rendering(keys: Sequence[Key], manner: Manner, otherwise: Manner = badsig) -> Manner:
    """Renders a message anew, without name compression, and verifies that: one with a compressed name fails.

    Verified with one of `keys` or with a key that the message itself adds.
    """

    def wrapped(received: Received) -> Sequence[Reply]:
        envelope = received.envelope
        found = signatures(envelope, DEFAULT.signature_type)
        if len(found) != 1:
            return otherwise(received)
        data = found[0].signed_rdata + rendered_anew(envelope)
        added = [Key.from_rdata(found[0].signer, rdata) for rdata in _added_keys(envelope)]
        good = any(verifier(key, DEFAULT)(found[0].signature, data) for key in (*keys, *added))
        return (manner if good else otherwise)(received)

    return wrapped


def only_a_single_add(then: Manner, otherwise: Manner = badkey) -> Manner:
    """Of UPDATEs about KEY, takes only those that add one record and do nothing else."""

    def wrapped(received: Received) -> Sequence[Reply]:
        updates = list(received.envelope.section(UPDATE)) if received.is_update else []
        if all(record.rtype != RRType.KEY for record in updates):
            return then(received)
        return (then if [record.rclass for record in updates] == [RRClass.IN] else otherwise)(received)

    return wrapped


def rendered_anew(envelope: Envelope) -> bytes:
    """The message without its signature, as a library writes it that does not compress names."""
    wire = envelope.wire
    out = wire[:10] + (int.from_bytes(wire[10:12]) - 1).to_bytes(2)
    for question in envelope.questions:
        out += read_name(wire, question.start)[0] + wire[question.end - 4 : question.end]
    for record in envelope.records:
        if record.rtype == DEFAULT.signature_type:
            continue
        owner, rdata = read_name(wire, record.start)[0], envelope.rdata(record)
        if record.rtype == RRType.NS and rdata:
            rdata = read_name(wire, record.rdata)[0]
        out += message.record(owner, record.rtype, record.rclass, record.ttl, rdata)
    return out


def _added_keys(envelope: Envelope) -> list[bytes]:
    adds = (record for record in envelope.section(UPDATE) if record.rclass == RRClass.IN)
    return [envelope.rdata(record) for record in adds if record.rtype == RRType.KEY]


def _key_asked_for(received: Received) -> int | None:
    """KEY-ID in the KeyState option of a message; None without one."""
    opt = received.envelope.opt
    options = dict(read_options(received.envelope.rdata(opt))) if opt else {}
    data = options.get(DEFAULT.keystate_option)
    return None if data is None else int.from_bytes(data[:2])


def _header(identity: int, flags: int, *, questions: int = 0) -> bytes:
    return identity.to_bytes(2) + (flags & 0xFFF0).to_bytes(2) + questions.to_bytes(2) + bytes(6)


def _altered(manner: Manner, **fields: Any) -> Manner:
    return lambda received: [replace(reply, **fields) for reply in manner(received)]
