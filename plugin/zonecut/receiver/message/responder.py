"""A decision becomes response octets, signed with the receiver's own key (RFC 2136 section 3.8, 2931, 6891, 8914)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from struct import Struct
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from zonecut.protocol import message, names
from zonecut.protocol.codepoints import CodePoints, EdeCode, Opcode, Rcode, RRClass, RRType
from zonecut.protocol.ede import ExtendedError
from zonecut.protocol.envelope import ADDITIONAL, HEADER_LENGTH, MAX_MESSAGE, Envelope
from zonecut.protocol.errors import Refusal
from zonecut.protocol.flags import AUTHORITATIVE, QUERY_RESPONSE, RECURSION_DESIRED, TRUNCATED
from zonecut.protocol.keys import KeyPair
from zonecut.protocol.keystate import KeyStateOption
from zonecut.protocol.sig0 import sign_response
from zonecut.receiver.message.admission import TokenBuckets
from zonecut.receiver.message.foreign_tsig import UnknownTsigKey
from zonecut.receiver.message.prototype import tdns_error

MAX_GROWTH = 128
"""A UDP response to an unverified request is at most so many octets longer: nobody is a lever against others."""

SOA_TIMES = (0, 3600, 600, 86400, 300)
"""Serial, refresh, retry, expire and minimum, in seconds, of the SOA that answers a client which looks for the zone."""

_HEAD = Struct("!HHHHHH")
_KEPT_FLAGS = 0xF << 11 | RECURSION_DESIRED
"""The opcode, and RD, which a response copies whatever it means there (RFC 1035 section 4.1.1)."""
_UDP_WITHOUT_EDNS = 512


class ResponseSettings(BaseModel):
    """`receiver.responses`: how responses are signed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sign: Literal["all", "keystate"] = Field(
        "all", description="`keystate`: leave responses to UPDATEs unsigned; `all`: sign those to signed requests."
    )
    form: Literal["rfc2931", "message-only"] = Field(
        "rfc2931", description="Sign over request and response, or over the response alone."
    )
    ede: Literal["ours", "both"] = Field(
        "ours",
        description="`both`: where a child's key or a limit is why, the extended error of the prototype `tdns` stands"
        " before ours: without one that it knows, it takes a REFUSED for final.",
    )
    validity: PositiveInt = Field(300, description="Seconds for which a response's signature is valid, each way.")
    unverified_burst: PositiveInt = Field(200, description="Signed answers to unverified requests at once, in all.")
    unverified_rate: PositiveFloat = Field(100, description="Signed answers a second to unverified requests, in all.")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is told."""

    rcode: Rcode = Rcode.NOERROR
    error: ExtendedError | None = None
    keystate: KeyStateOption | None = None
    """Leaves only in a response that is signed."""
    before: ExtendedError | None = None
    """Another implementation's extended error, which stands before ours."""

    @classmethod
    def of(cls, refusal: Refusal) -> "Answer":
        return cls(refusal.rcode, None if refusal.ede is None else ExtendedError(refusal.ede, refusal.told))


Signer = Callable[[float], KeyPair | None]
"""The receiver's key pair to sign with at a time in seconds since the epoch; None if there is none."""


class Responder:
    """Makes responses for one parent zone, or, without a signer, for requests that are about none of ours."""

    def __init__(
        self,
        settings: ResponseSettings,
        signer: Signer,
        budget: TokenBuckets,
        codepoints: CodePoints,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """`budget` bounds what signing for strangers may cost, over all zones."""
        self._settings = settings
        self._signer = signer
        self._budget = budget
        self._codepoints = codepoints
        self._clock = clock
        self._monotonic = monotonic

    def respond(self, envelope: Envelope, answer: Answer, *, verified: bool, trusted: bool, udp: bool) -> bytes:
        """The response; `verified` if a signature of the request did verify, `trusted` if the key is trusted, too.

        A key that is merely known is anybody's, and an address that it writes from may be forged.
        """
        if self._settings.ede == "both":
            answer = replace(answer, before=tdns_error(answer.rcode, answer.error, self._codepoints))
        pair = self._pair(envelope, answer, verified)
        if pair is None:
            return respond(envelope, answer, verified=trusted or not udp)
        signed = self._sign(envelope, assemble(envelope, answer.rcode, self._options(answer)), pair)
        most = _most_octets(envelope, trusted, udp)
        if len(signed) > most and envelope.opt is not None:
            # the codes are worth more than the texts
            answer = _shorter(answer, len(signed) - most)
            signed = self._sign(envelope, assemble(envelope, answer.rcode, self._options(answer)), pair)
        if len(signed) <= most:
            return signed
        # the rest is to be had over TCP: this is no acceptance, and says so by TC
        short = truncated(envelope, answer.rcode)
        signed = self._sign(envelope, short, pair)
        return signed if len(signed) <= most else short

    def _pair(self, envelope: Envelope, answer: Answer, verified: bool) -> KeyPair | None:
        if answer.keystate is None and (self._settings.sign == "keystate" or not self._bears_signature(envelope)):
            # who does not sign does not verify, and some take a SIG that they did not ask for as malformed
            return None
        if not verified and not self._budget.take("unverified", self._monotonic()):
            return None
        return self._signer(self._clock())

    def _bears_signature(self, envelope: Envelope) -> bool:
        carrier = self._codepoints.signature_type
        return any(record.rtype == carrier for record in envelope.section(ADDITIONAL))

    def _options(self, answer: Answer) -> bytes:
        return _errors(answer) + (answer.keystate.to_option(self._codepoints) if answer.keystate else b"")

    def _sign(self, envelope: Envelope, response: bytes, pair: KeyPair) -> bytes:
        now, validity = int(self._clock()), self._settings.validity
        return sign_response(
            response,
            pair,
            now - validity,
            now + validity,
            request=envelope.wire if self._settings.form == "rfc2931" else b"",
            signature_type=self._codepoints.signature_type,
        )


def _most_octets(envelope: Envelope, trusted: bool, udp: bool) -> int:
    """The most octets of a response (RFC 1035 section 4.2.1, RFC 6891 section 6.2.5)."""
    if not udp:
        return MAX_MESSAGE
    room = _UDP_WITHOUT_EDNS if envelope.opt is None else max(_UDP_WITHOUT_EDNS, envelope.opt.rclass)
    return room if trusted else min(room, len(envelope.wire) + MAX_GROWTH)


def malformed(wire: bytes) -> bytes:
    """FORMERR to octets that hold a header and no message that can be walked: the header alone."""
    flags = QUERY_RESPONSE | int.from_bytes(wire[2:4]) & _KEPT_FLAGS | Rcode.FORMERR
    return wire[:2] + flags.to_bytes(2) + bytes(8)


def respond(envelope: Envelope, answer: Answer, *, verified: bool = False) -> bytes:
    """An unsigned response: its header, its question or zone section, and an OPT record if it had one.

    Without EDNS in the request an RCODE above 15 becomes NOTAUTH (RFC 8945 section 5.3) and there is no extended error.
    """
    response = assemble(envelope, answer.rcode, _errors(answer))
    excess = len(response) - len(envelope.wire) - MAX_GROWTH
    if not verified and excess > 0 and answer.error is not None and envelope.opt is not None:
        return assemble(envelope, answer.rcode, _errors(_shorter(answer, excess)))
    return response


def _errors(answer: Answer) -> bytes:
    """The options with its extended errors."""
    return b"".join(error.to_option() for error in (answer.before, answer.error) if error is not None)


def refuse_tsig(envelope: Envelope, refusal: UnknownTsigKey, now: int, *, udp: bool) -> bytes:
    """The answer to a request that is signed by TSIG alone (RFC 8945 section 5.2.1); `now` in seconds."""
    most = _most_octets(envelope, False, udp)
    for answer in (Answer.of(refusal), Answer(refusal.rcode)):
        response = refusal.added_to(respond(envelope, answer), now)
        if len(response) <= most:
            return response
    # its name was compressed in the request
    return truncated(envelope, refusal.rcode)


def assemble(envelope: Envelope, rcode: Rcode, options: bytes) -> bytes:
    """Header, question or zone section, and an OPT record with `options` if the request had one."""
    if envelope.opt is None:
        return _assemble(envelope, Rcode.NOTAUTH if rcode > 15 else rcode)
    return _assemble(envelope, rcode & 0xF, opt=message.opt_record(options, flags=rcode >> 4 << 24))


def truncated(envelope: Envelope, rcode: Rcode) -> bytes:
    """The question alone, with TC set; without OPT, an RCODE above 15 becomes NOTAUTH."""
    return _assemble(envelope, TRUNCATED | (Rcode.NOTAUTH if rcode > 15 else rcode))


def answer_soa(envelope: Envelope, zone: bytes, target: bytes, *, udp: bool = False) -> bytes:
    """The answer to a client that asks for the zone of a name, as nsupdate does first: the parent's SOA.

    It stands in the answer section for the apex itself and in the authority section for a name below. The server it
    names is the UPDATE Receiver, so that a client which takes the server from it comes back here. Long names that would
    make a datagram grow too much are left for TCP: TC is set.
    """
    question = envelope.questions[0]
    times = b"".join(number.to_bytes(4) for number in SOA_TIMES)
    rdata = target + names.from_text("hostmaster")[:-1] + zone + times
    soa = message.record(zone, RRType.SOA, RRClass.IN, 0, rdata)
    at_apex = envelope.name(question.start) == zone
    opt = message.opt_record() if envelope.opt else b""
    response = _assemble(envelope, AUTHORITATIVE, record=soa, opt=opt, in_answer=at_apex)
    if udp and len(response) > len(envelope.wire) + MAX_GROWTH:
        return _assemble(envelope, AUTHORITATIVE | TRUNCATED, opt=opt)
    return response


def _assemble(
    envelope: Envelope, flags: int, *, record: bytes = b"", opt: bytes = b"", in_answer: bool = False
) -> bytes:
    asked = envelope.questions
    head = _HEAD.pack(
        envelope.id,
        QUERY_RESPONSE | envelope.flags & _KEPT_FLAGS | flags,
        len(asked),
        1 if record and in_answer else 0,
        1 if record and not in_answer else 0,
        1 if opt else 0,
    )
    questions = envelope.wire[HEADER_LENGTH : asked[-1].end] if asked else b""
    return head + questions + record + opt


def _shorter(answer: Answer, excess: int) -> Answer:
    """The same with so many octets less of text, as far as there is any."""
    error, keystate = answer.error, answer.keystate
    if error is not None:
        shortened = _shorten(error, excess)
        excess -= len(error.text.encode()) - len(shortened.text.encode())
        error = shortened
    if keystate is not None and excess > 0:
        keystate = replace(keystate, extra_text=_cut(keystate.extra_text, excess))
    return replace(answer, error=error, keystate=keystate)


def _cut(text: str, excess: int) -> str:
    octets = text.encode()
    return octets[: max(0, len(octets) - excess)].decode(errors="ignore")


def _shorten(error: ExtendedError, excess: int) -> ExtendedError:
    return ExtendedError(error.code, _cut(error.text, excess))


def is_soa_query(envelope: Envelope) -> bool:
    """True for an ordinary query for one SOA of class IN."""
    if envelope.opcode != Opcode.QUERY or len(envelope.questions) != 1:
        return False
    question = envelope.questions[0]
    return question.qtype == RRType.SOA and question.qclass == RRClass.IN


def unavailable(told: str) -> Answer:
    """SERVFAIL for what cannot be done now; the log has the reason."""
    return Answer(Rcode.SERVFAIL, ExtendedError(EdeCode.OTHER, told))
