"""The prototype `tdns` as a parent, played message by message as it was recorded: it signs KeyState answers only.

What it says to an UPDATE bears no signature, an acceptance no OPT record either. In both of its revisions: since August
2026 it numbers its extended errors differently, and may take no uploads (it looks the KEY up when somebody asks).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address
from time import time

from lab.scripted.hostile import HostileReceiver, Received, Reply
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import DEFAULT, Rcode, ReceiverState, RRClass, RRType
from zonecut.protocol.ede import ExtendedError
from zonecut.protocol.envelope import HEADER_LENGTH, UPDATE, Record, read_options
from zonecut.protocol.flags import DNSSEC_OK, QUERY_RESPONSE
from zonecut.protocol.keys import Key
from zonecut.protocol.keystate import KeyStateOption
from zonecut.protocol.sig0 import sign_response

_PAYLOAD = 4096
_NOT_KNOWN = "SIG(0) key not known"
_NOT_TRUSTED = "SIG(0) key known, but not yet trusted"
_NO_UPLOADS = "unvalidated key upload not accepted; publish the KEY at the zone apex"
_TEXTS = {
    ReceiverState.TRUSTED: "Key state: Trusted",
    ReceiverState.UNKNOWN: "Key not found in truststore",
    ReceiverState.BOOTSTRAP_MANUAL: "Key state: Manual Bootstrap Required",
}


class Revision(StrEnum):
    """Of the prototype."""

    OLD = "until August 2026"
    NEW = "since August 2026"


_CODES = {Revision.OLD: (514, 515), Revision.NEW: (513, 514)}
"""Of a key that is not known, and of one that is not trusted."""


@dataclass
class Prototype:
    """The manner of a receiver, told as `receiver.play(prototype)`. `apply` puts a change into the parent zone.

    `looks_up` tells whether the KEY with a key tag is published in the child zone; with it, no uploads are taken.
    """

    receiver: HostileReceiver
    apply: Callable[[Received], None]
    revision: Revision = Revision.NEW
    looks_up: Callable[[int], bool] | None = None
    delegated: Sequence[tuple[str, str]] = (("ns1.child.parent.test.", "127.0.0.1"),)
    """The name servers in the referral of its KeyState answers, with their addresses."""
    keys: dict[int, ReceiverState] = field(default_factory=dict)
    """By key tag, what it makes of each key."""
    lost: bool = False
    """It has lost its keys since, and says of an unknown one that it is known."""

    def trust(self) -> None:
        """Its operator does."""
        self.keys = dict.fromkeys(self.keys, ReceiverState.TRUSTED)

    def lose(self) -> None:
        self.keys, self.lost = {}, True

    def __call__(self, received: Received) -> Sequence[Reply]:
        if not received.is_update:
            return [self._keystate(received)]
        assert received.signer is not None
        records = list(received.envelope.section(UPDATE))
        tag = received.signer[1]
        if all(record.rtype == RRType.KEY for record in records):
            return [self._about_keys(received, records, tag)]
        if self.keys.get(tag) is not ReceiverState.TRUSTED:
            return [self._stranger(received)]
        self.apply(received)
        return [_accepted(received)]

    def _about_keys(self, received: Received, records: Sequence[Record], tag: int) -> Reply:
        owner = received.envelope.name(records[0].start)
        classes = [record.rclass for record in records]
        keys = [Key.from_rdata(owner, received.envelope.rdata(each)) for each in records if each.rclass != RRClass.ANY]
        if self.keys.get(tag) is ReceiverState.TRUSTED:
            for key, rclass in zip(keys, classes, strict=True):
                if rclass == RRClass.NONE:
                    self.keys.pop(key.tag, None)
                else:
                    self.keys[key.tag] = ReceiverState.TRUSTED
            return _accepted(received)
        if classes != [RRClass.IN] or keys[0].tag != tag:
            return self._stranger(received)
        if self.looks_up is not None:
            return _refused(received, Rcode.REFUSED, 545, _NO_UPLOADS)
        self.keys[tag] = ReceiverState.BOOTSTRAP_MANUAL
        return _accepted(received)

    def _stranger(self, received: Received) -> Reply:
        """What is said to whoever signs with a key that is not trusted."""
        not_known, not_trusted = _CODES[self.revision]
        assert received.signer is not None
        if self.lost or received.signer[1] in self.keys:
            return _refused(received, Rcode.REFUSED, not_trusted, _NOT_TRUSTED)
        return _refused(received, Rcode.BADKEY, not_known, _NOT_KNOWN)

    def _keystate(self, received: Received) -> Reply:
        """The answer to an inquiry: a referral, with the option, signed without the request."""
        envelope = received.envelope
        assert envelope.opt is not None
        tag = int.from_bytes(dict(read_options(envelope.rdata(envelope.opt)))[DEFAULT.keystate_option][:2])
        if self.looks_up is not None and self.looks_up(tag):
            self.keys[tag] = ReceiverState.TRUSTED
        state = self.keys.get(tag, ReceiverState.UNKNOWN)
        option = KeyStateOption(tag, state, 0, _TEXTS[state]).to_option(DEFAULT)
        child = envelope.name(envelope.questions[0].start)
        servers = [(names.from_text(name), IPv4Address(address).packed) for name, address in self.delegated]
        authority = [message.record(child, RRType.NS, RRClass.IN, 300, name) for name, _ in servers]
        additional = [_opt(option), *(message.record(n, RRType.A, RRClass.IN, 300, a) for n, a in servers)]
        unsigned = _head(received, 0, len(authority), len(additional)) + b"".join((*authority, *additional))
        now = int(time())
        wire = sign_response(
            unsigned, self.receiver.key.pair, now - 90, now + 400, request=b"", signature_type=DEFAULT.signature_type
        )
        return Reply(octets=wire)


def _accepted(received: Received) -> Reply:
    return Reply(octets=_head(received, 0, 0, 0))


def _refused(received: Received, rcode: int, code: int, text: str) -> Reply:
    opt = _opt(ExtendedError(code, text).to_option(), (rcode >> 4) << 24 | DNSSEC_OK)
    return Reply(octets=_head(received, rcode & 0xF, 0, 1) + opt)


def _opt(options: bytes, ttl: int = 0) -> bytes:
    return message.record(names.ROOT, RRType.OPT, _PAYLOAD, ttl, options)


def _head(received: Received, rcode: int, authority: int, additional: int) -> bytes:
    envelope = received.envelope
    flags = QUERY_RESPONSE | envelope.flags & 0x7800 | rcode
    counts = (1).to_bytes(2) + bytes(2) + authority.to_bytes(2) + additional.to_bytes(2)
    question = received.wire[HEADER_LENGTH : envelope.questions[0].end]
    return envelope.id.to_bytes(2) + flags.to_bytes(2) + counts + question
