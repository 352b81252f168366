"""What is cheap to refuse: limits per source and per child, and the form of a message before any key is looked up."""

from collections.abc import Hashable
from socket import AF_INET6, inet_pton
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from zonecut.protocol import names
from zonecut.protocol.codepoints import EdeCode, Opcode, Rcode
from zonecut.protocol.envelope import Envelope
from zonecut.protocol.errors import Refusal
from zonecut.protocol.sig0 import Signature, signatures
from zonecut.protocol.update import zone_of

EDNS_VERSION = "edns-version"
"""The rule that a message breaks whose RCODE 16 is BADVERS, and not BADSIG."""
_UPDATE = int(Opcode.UPDATE)


class Limits(BaseModel):
    """`receiver.limits`: how much is taken from one sender; rates are a second, bursts are counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_burst: PositiveInt = Field(200, description="Messages that one source may send at once.")
    source_rate: PositiveFloat = Field(50, description="Messages a second that one source may send after its burst.")
    child_burst: PositiveInt = Field(30, description="Verified changes that one child may send at once.")
    child_rate: PositiveFloat = Field(0.2, description="Verified changes a second of one child after its burst.")
    upload_burst: PositiveInt = Field(20, description="Key uploads that one source may send at once.")
    upload_rate: PositiveFloat = Field(
        0.5, description="Key uploads a second that one source may send after its burst."
    )
    max_records: PositiveInt = Field(1000, description="Records in one message.")
    max_pending: PositiveInt = Field(5000, description="Changes of all children that may be in work at once.")
    max_pending_per_child: PositiveInt = Field(8, description="Changes of one child that may be in work at once.")
    tcp_connections: PositiveInt = Field(500, description="TCP connections at once.")
    tcp_idle: PositiveFloat = Field(30, description="Seconds after which an idle TCP connection is closed.")


class Source(NamedTuple):
    """Where a message came from. `udp` is true where the address may be forged."""

    address: str
    port: int
    udp: bool

    def __str__(self) -> str:
        return f"{self.address}#{self.port}"

    @property
    def counted(self) -> tuple[str | bytes, bool]:
        """What counts as one source: whoever forges the address of datagrams uses up nothing of whom it belongs to."""
        return source_key(self.address), self.udp


class TokenBuckets:
    """A token bucket for each key, in bounded memory.

    A bucket that is full again is as good as none: when there are too many, the older half is looked through and
    those are forgotten first.
    """

    def __init__(self, burst: float, rate: float, capacity: int = 65536) -> None:
        self._burst = float(burst)
        self._rate = rate
        self._capacity = capacity
        self._buckets: dict[Hashable, tuple[float, float]] = {}

    def take(self, key: Hashable, now: float) -> bool:
        """Take one token at the time `now` (seconds); False if there is none."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._capacity:
                self._forget(now)
            self._buckets[key] = (self._burst - 1.0, now)
            return True
        tokens, since = bucket
        tokens += (now - since) * self._rate
        if tokens > self._burst:
            tokens = self._burst
        if tokens < 1.0:
            self._buckets[key] = (tokens, now)
            return False
        self._buckets[key] = (tokens - 1.0, now)
        return True

    def _forget(self, now: float) -> None:
        full = [
            key for key, (tokens, since) in self._buckets.items() if tokens + (now - since) * self._rate >= self._burst
        ]
        for key in full:
            del self._buckets[key]
        if len(self._buckets) >= self._capacity:
            # all are busy: the oldest half starts anew, rather than that memory grows with what an attacker sends
            for key in list(self._buckets)[: self._capacity // 2]:
                del self._buckets[key]


def source_key(address: str) -> str | bytes:
    """What counts as one source: an IPv4 address, or the /64 of an IPv6 address."""
    if ":" not in address:
        return address
    return inet_pton(AF_INET6, address.partition("%")[0])[:8]


class Admitted(NamedTuple):
    """A signed UPDATE for one of our zones, in good form; nothing of it is believed yet."""

    envelope: Envelope
    zone: bytes
    signer: bytes
    signatures: tuple[Signature, ...]


def admit(envelope: Envelope, zones: frozenset[bytes], limits: Limits, signature_type: int) -> Admitted:
    """Refuse what can be refused without a key. Raises MalformedMessage or Refusal."""
    if envelope.flags >> 11 & 0xF != _UPDATE:
        raise Refusal("opcode", f"opcode {envelope.opcode} is not served", Rcode.NOTIMP, None)
    zone = zone_of(envelope)
    if zone not in zones:
        raise Refusal("zone-is-ours", _not_ours(zone, zones), Rcode.NOTAUTH, EdeCode.OTHER)
    if len(envelope.records) > limits.max_records:
        raise Refusal("max-records", f"{len(envelope.records)} records, more than {limits.max_records}")
    signed = signatures(envelope, signature_type)
    if not signed:
        raise Refusal("signed", "not signed", ede=EdeCode.PROHIBITED)
    signer = signed[0].signer
    if not names.is_below(signer, zone):
        raise Refusal(
            "signer-is-child",
            f"the signer {names.to_text(signer)} is no child of {names.to_text(zone)}",
            ede=EdeCode.PROHIBITED,
        )
    return Admitted(envelope, zone, signer, signed)


def _not_ours(zone: bytes, zones: frozenset[bytes]) -> str:
    text = f"{names.to_text(zone)} is not served here"
    # where zones are nested, the nearest one
    if (parent := max((ours for ours in zones if names.is_below(zone, ours)), key=len, default=None)) is not None:
        return f"{text}; the zone section names the parent, {names.to_text(parent)}"
    return text


def check_edns(envelope: Envelope) -> None:
    """Raise Refusal for an EDNS version that is not 0 (RFC 6891 section 6.1.3)."""
    opt = envelope.opt
    if opt is not None and opt.ttl >> 16 & 0xFF:
        raise Refusal(EDNS_VERSION, "EDNS version 0 is spoken here", Rcode.BADVERS, None)
