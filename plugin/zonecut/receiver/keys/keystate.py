"""KeyState: what a child's key is worth, told to who asks for it (draft-berra-dnsop-keystate).

An inquiry never changes anything. Its answer is NOERROR with an empty answer section whatever the state is; the option
leaves only in a signed response, which is for the responder to see to.
"""

from zonecut.protocol.codepoints import CodePoints, Rcode, ReceiverState, RRClass, RRType
from zonecut.protocol.envelope import Envelope, read_options
from zonecut.protocol.errors import Refusal
from zonecut.protocol.keystate import Inquiry, KeyStateOption, Malformed, Revision, read_inquiry
from zonecut.protocol.sig0 import Untimely, check_time, signatures, signed_data
from zonecut.receiver.keys.trust import Trust
from zonecut.receiver.message.authentication import Authenticated, SignatureSettings, candidates
from zonecut.store import Bootstrap, KeyState, RingKey, StoredKey, StoreUnavailable


def is_key_query(envelope: Envelope) -> bool:
    """True for a query about the KEY records of one name (older revisions of the draft ask for ANY)."""
    if len(envelope.questions) != 1:
        return False
    question = envelope.questions[0]
    return question.qclass == RRClass.IN and question.qtype in (RRType.KEY, RRType.ANY)


def verified_key(
    envelope: Envelope, keys: tuple[RingKey, ...], child: bytes, now: int, settings: SignatureSettings, carrier: int
) -> StoredKey | None:
    """The child's key under which an inquiry's signature verified; None if it is unsigned or its signer unknown.

    Raises Refusal with BADSIG or BADTIME when a key that is known did not make it; MalformedMessage.
    """
    refusal: Refusal | None = None
    for signature in signatures(envelope, carrier):
        found = candidates(keys, signature) if signature.signer == child else []
        try:
            if found:
                check_time(signature, now, fudge=settings.fudge, max_validity=settings.max_validity)
        except Untimely as error:
            refusal = Refusal("signature-time", error.reason, Rcode.BADTIME)
            continue
        for stored, verify in found:
            if verify is not None and verify(signature.signature, signed_data(envelope.wire, signature)):
                return stored
            refusal = refusal or Refusal("signature", "the signature does not verify", Rcode.BADSIG, None)
    if refusal is not None:
        raise refusal
    return None


class Inquiries:
    """Reads inquiries and says what keys are worth."""

    def __init__(self, revision: Revision, settings: SignatureSettings, codepoints: CodePoints) -> None:
        self._revision = revision
        self._settings = settings
        self._codepoints = codepoints

    def read(self, envelope: Envelope) -> Inquiry | Malformed | None:
        """What the KeyState option of a request asks; None if it has none. Raises MalformedMessage for a broken OPT."""
        if envelope.opt is None or envelope.opt.end == envelope.opt.rdata:
            return None
        wanted, asked = self._codepoints.keystate_option, None
        for code, data in read_options(envelope.rdata(envelope.opt)):
            if code == wanted and asked is None:
                asked = data
        return None if asked is None else read_inquiry(asked, self._revision)

    def examine(
        self, envelope: Envelope, child: bytes, asked: Inquiry | Malformed, keys: tuple[RingKey, ...], now: int
    ) -> tuple[RingKey | None, StoredKey | None]:
        """The key that an inquiry is about, if it is known, and the one under which its own signature verified.

        `now` in seconds since the epoch. Raises Refusal with BADSIG or BADTIME, MalformedMessage.
        """
        carrier = self._codepoints.signature_type
        verified = verified_key(envelope, keys, child, now, self._settings, carrier)
        return _key_asked_about(keys, asked.key_id, verified), verified

    def settled(self, asked: Inquiry | Malformed, known: RingKey | None) -> KeyStateOption | None:
        """What to tell where the key's state alone says it; None for a known key, whose bootstrap must be looked at."""
        if isinstance(asked, Malformed):
            return asked.response()
        if known is None:
            return KeyStateOption(asked.key_id, ReceiverState.UNKNOWN)
        if known.verify is None:
            return KeyStateOption(asked.key_id, ReceiverState.INVALID)
        code = _CODES.get(known.stored.state)
        if code is None:
            return None
        tells = code in (ReceiverState.VALIDATION_FAILED, ReceiverState.BOOTSTRAP_MANUAL)
        reason = known.stored.reason if tells else ""
        return KeyStateOption(asked.key_id, code, 0, reason)

    async def of_known(self, trust: Trust, asked: Inquiry | Malformed, known: RingKey | None) -> KeyStateOption:
        """What to tell of a known key."""
        assert known is not None
        try:
            stored, bootstrap = await trust.standing(known.stored)
        except StoreUnavailable:
            return self.temporary_failure(asked)
        return self.of_standing(asked, known._replace(stored=stored), bootstrap)

    def of_standing(self, asked: Inquiry | Malformed, known: RingKey, bootstrap: Bootstrap | None) -> KeyStateOption:
        """What to tell of a key as it is now, and of its bootstrap while it has one."""
        if bootstrap is not None and not bootstrap.manual:
            return KeyStateOption(asked.key_id, ReceiverState.BOOTSTRAP_AUTO, 0, bootstrap.reason)
        reason = bootstrap.reason if bootstrap else ""
        ended = self.settled(asked, known)
        return ended or KeyStateOption(asked.key_id, ReceiverState.BOOTSTRAP_MANUAL, 0, reason)

    async def with_update(
        self, trust: Trust, envelope: Envelope, authenticated: Authenticated
    ) -> KeyStateOption | None:
        """What to tell in the response to an UPDATE that carries the option. Raises MalformedMessage."""
        asked = self.read(envelope)
        if asked is None:
            return None
        try:
            keys = await trust.keys_of(authenticated.key.owner)
        except StoreUnavailable:
            return self.temporary_failure(asked)
        known = next((each for each in keys if each.stored.key == authenticated.key), None)
        if known is None or known.stored.key.tag != asked.key_id:
            known = _key_asked_about(keys, asked.key_id, None)
        return self.settled(asked, known) or await self.of_known(trust, asked, known)

    def temporary_failure(self, asked: Inquiry | Malformed) -> KeyStateOption:
        """What is said when the store cannot answer: never that the key is unknown."""
        return KeyStateOption(asked.key_id, ReceiverState.TEMPORARY_FAILURE, 0, "try again")


def _key_asked_about(keys: tuple[RingKey, ...], key_id: int, verified: StoredKey | None) -> RingKey | None:
    """The key that a KEY-ID means: the one whose signature verified, else a trusted one, else any with that tag."""
    matching = [each for each in keys if each.stored.key.tag == key_id]
    for each in matching:
        if verified is not None and each.stored.id == verified.id:
            return each
    return matching[0] if matching else None


_CODES = {
    KeyState.TRUSTED: ReceiverState.TRUSTED,
    KeyState.VALIDATION_FAILED: ReceiverState.VALIDATION_FAILED,
    KeyState.REFUSED: ReceiverState.REFUSED,
    KeyState.REVOKED: ReceiverState.REFUSED,
    # its child has another key: an upload is told so
    KeyState.SUPERSEDED: ReceiverState.UNKNOWN,
    # its holder may upload it again, as one that was never seen
    KeyState.ENDED: ReceiverState.UNKNOWN,
    KeyState.SUSPENDED: ReceiverState.BOOTSTRAP_MANUAL,
}
