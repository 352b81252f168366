"""The life of a child's key: how it comes in, how another one takes its place, and what it is worth to who asks.

    (nothing) -> known -> trusted -> superseded, suspended, ended, revoked
                 known -> validation-failed, refused, ended, revoked
    validation-failed, ended -> known (uploaded again) ; superseded -> trusted (added under a trusted key)
    refused, suspended, superseded -> trusted (by an operator) ; revoked is final

Only an operator, a bootstrap that succeeded, or a trusted key's own signature makes a key trusted. What takes trust
without either, because of what becomes of the delegation, is in `watching`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from socket import AF_INET6, inet_ntop
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from zonecut.protocol.codepoints import CodePoints, EdeCode, Rcode
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.errors import Refusal
from zonecut.protocol.keys import Key, UnusableKey, check_usable
from zonecut.protocol.update import Action, KeyRoll, KeyUpload
from zonecut.receiver.keys.bootstrapper import Bootstrapper
from zonecut.receiver.keys.published import Published
from zonecut.receiver.message.admission import Source
from zonecut.receiver.message.authentication import Authenticated, untrusted
from zonecut.receiver.message.key_lookup import KeyLookup
from zonecut.receiver.outcome import Outcome
from zonecut.receiver.provenance import Provenance
from zonecut.store import (
    FORGEABLE,
    Bootstrap,
    ChangeKind,
    HeldBack,
    InvalidTransition,
    KeyState,
    QuotaExceeded,
    RingKey,
    Roll,
    Store,
    StoredKey,
    Unpublished,
    Upload,
)

PATIENCE = 1.5
"""Seconds for which the answer to an upload waits for a look at what its child publishes."""


class TrustSettings(BaseModel):
    """`trust` of a parent zone: what is taken of keys; times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pending_per_child: PositiveInt = Field(3, description="Keys of one child that may be on their way to trust.")
    pending_per_source: PositiveInt = Field(20, description="Keys from one source that may be on their way to trust.")
    pending_in_all: PositiveInt = Field(10_000, description="Keys that may be on their way to trust.")
    trusted_per_child: PositiveInt = Field(8, description="Keys of one child that may be trusted at a time.")
    pending_expires: PositiveFloat = Field(14 * 86400, description="After so long a pending key is given up.")
    foreign_ns: Literal["auto", "keep", "alarm", "suspend"] = Field(
        "auto",
        description="When NS were changed by somebody else: trust on, say so, or let an operator trust anew; `auto`"
        " says so while a name server is in common, and suspends where all are new.",
    )
    foreign_ds: Literal["suspend", "alarm", "keep"] = Field(
        "suspend",
        description="When somebody else took all DS of a child out: let none of its changes bring them back until a DS"
        " set is put there by another channel or an operator trusts its keys anew; say so; or trust on.",
    )
    suspend_after: NonNegativeFloat = Field(
        60,
        description="For how long NS that suspend must have been seen, in two looks at least, before the keys are"
        " suspended; signed changes are refused until then. 0: at the first look.",
    )
    gone_after: PositiveFloat = Field(
        86400,
        description="Trust ends when the delegation was away at every look for so long, five looks at least; where it"
        " comes back before with other name servers, the keys are suspended.",
    )
    gone_at_most: NonNegativeInt | None = Field(
        None,
        description="When more delegations are away at a time, none of them ends by itself, and when more have NS that"
        " suspend, none of their keys are suspended: each is an operator's matter until it is seen as it was; default:"
        " ten, or one in a hundred of the children with trusted keys, whichever is more, but no more than a third of"
        " them (one in any case).",
    )
    sweep: PositiveFloat = Field(
        3600, description="How often the delegations of all children with trusted keys are looked at."
    )
    retry_first: PositiveFloat = Field(5, description="The pause before the second attempt; it doubles each time.")
    retry_longest: PositiveFloat = Field(3600, description="The longest pause between two attempts.")
    attempts: PositiveInt = Field(16, description="Failed attempts after which a bootstrap is given up.")
    cool_down: PositiveFloat = Field(
        60,
        description="The shortest time from one look at a child to the next for which there is a reason: its key came"
        " again, or its delegation changed.",
    )
    on_demand: bool = Field(
        False, description="Whether the KEY of a child that signs with an unknown key is looked up, without an upload."
    )
    unpublished: Unpublished = Field(
        Unpublished.ALARM,
        description="When a key is validated by a KEY RRset without another key that is trusted: say so, or supersede"
        " that one.",
    )


def check_key(key: Key, codepoints: CodePoints) -> None:
    """Raise Refusal for a key with which nobody may sign."""
    try:
        check_usable(key, codepoints)
    except UnusableKey as error:
        raise Refusal("key-usable", error.reason, ede=EdeCode.PROHIBITED) from None


def check_upload(key: Key, request: KeyUpload, codepoints: CodePoints) -> None:
    """Raise Refusal for an upload of more than the key that signed it, or of one with which nobody may sign."""
    if len(request.keys) != 1:
        reason = f"{len(request.keys)} keys in one upload; the key that signs is uploaded alone"
        raise Refusal("one-key-at-a-time", reason)
    check_key(key, codepoints)


def check_taken_in(stored: StoredKey, codepoints: CodePoints) -> None:
    """Raise Refusal for a key that was uploaded and stays what it was; `stored` is what it is after that."""
    if stored.state not in (KeyState.TRUSTED, KeyState.KNOWN):
        raise untrusted(stored, True, codepoints)


def upload_of(
    key: Key, zone: bytes, source: str, settings: TrustSettings, now: float, *, replaces: bool, manual: bool
) -> Upload:
    """A key that begins its way to trust now, in seconds since the epoch, with the bounds of a zone's settings."""
    return Upload(
        key=key,
        zone=zone,
        source=source,
        replaces=replaces,
        manual=manual,
        next_at=now,
        expires_at=now + settings.pending_expires,
        max_per_child=settings.pending_per_child,
        max_per_source=settings.pending_per_source,
        max_in_all=settings.pending_in_all,
        cool_down=settings.cool_down,
    )


def roll_of(
    provenance: Provenance,
    request: KeyRoll,
    zone: bytes,
    settings: TrustSettings,
    rollover: Literal["allow", "deny"],
    codepoints: CodePoints,
) -> Roll:
    """What a roll is to do to a child's keys. Raises Refusal where there is none by the zone's policy."""
    assert provenance.key_id is not None
    if rollover == "deny":
        raise Refusal("rollover", "keys are not rolled over here", ede=EdeCode.PROHIBITED)
    steps: list[tuple[bool, bytes | None]] = []
    for action, _, _, rdata in request.operations:
        if action in (Action.DELETE_RRSET, Action.DELETE_NAME):
            steps.append((False, None))
        else:
            steps.append((action is Action.ADD, rdata))
    empty = Delegation(request.child)
    return Roll(
        owner=request.child,
        steps=tuple(steps),
        actor=provenance.actor,
        signing_key=provenance.key_id,
        max_trusted=settings.trusted_per_child,
        record=provenance.record(zone, empty, empty, ChangeKind.KEYS),
        check=lambda key: check_key(key, codepoints),
    )


@contextmanager
def refused_rolls() -> Iterator[None]:
    """Raise Refusal for what stands in the way of a roll."""
    try:
        yield
    except HeldBack as error:
        raise Refusal("signature-order", error.reason, Rcode.BADTIME, EdeCode.OTHER) from None
    except InvalidTransition as error:
        raise Refusal("rollover", error.reason, ede=EdeCode.PROHIBITED) from None
    except QuotaExceeded as error:
        raise Refusal("trusted-keys", error.reason, ede=EdeCode.OVER_QUOTA) from None


class Trust:
    """The keys of one parent zone's children."""

    def __init__(
        self,
        zone: bytes,
        settings: TrustSettings,
        rollover: Literal["allow", "deny"],
        store: Store,
        keys: KeyLookup,
        bootstrapper: Bootstrapper,
        published: Published,
        codepoints: CodePoints,
    ) -> None:
        self._zone = zone
        self.settings = settings
        self.rollover = rollover
        self._store = store
        self._keys = keys
        self._bootstrapper = bootstrapper
        self._published = published
        self._codepoints = codepoints

    async def upload(self, authenticated: Authenticated, request: KeyUpload, source: Source, now: float) -> Outcome:
        """Take in a key that a message brings and is signed with. A key that is there already is no error.

        Raises Refusal, StoreUnavailable. The child's name and delegation are checked before.
        """
        check_upload(authenticated.key, request, self._codepoints)
        manual = not self._bootstrapper.has_automatic_methods
        brought = upload_of(
            authenticated.key,
            self._zone,
            _source_text(source),
            self.settings,
            now,
            replaces=request.replace,
            manual=manual,
        )
        try:
            stored = await self._store.bootstraps.begin(brought)
        except QuotaExceeded as error:
            stored = await self._begin_published(brought, error)
        # its holder may ask at once what it is worth
        await self._keys.refresh(stored.key.owner)
        check_taken_in(stored, self._codepoints)
        if stored.state is KeyState.KNOWN:
            self._bootstrapper.wake()
        return Outcome()

    async def _begin_published(self, upload: Upload, full: QuotaExceeded) -> StoredKey:
        """Take in a key for which strangers' left no place, if its child publishes it. Raises Refusal, StoreError."""
        holds = await self._published.holds(upload.key, PATIENCE)
        if holds:
            try:
                return await self._store.bootstraps.begin(self._as_published(upload))
            except QuotaExceeded as error:
                full = error
        why = "its child does not publish it" if holds is False else "what its child publishes is not known yet"
        cure = f"{why}; publish it at the apex of the child, and upload it again"
        raise Refusal("pending-keys", full.reason if holds else f"{full.reason}; {cure}", ede=EdeCode.OVER_QUOTA)

    def _as_published(self, upload: Upload) -> Upload:
        """The upload of a key that was seen where its child publishes it."""
        seen = self._published.latest(upload.key.owner)
        vouched = seen.keys if seen is not None and seen.is_vouched else ()
        return replace(upload, is_published=True, published=frozenset(key.rdata for key in vouched))

    async def fetched(self, key: Key, source: Source, now: float) -> None:
        """Take in a key that was found where a child publishes it, as if it had been uploaded.

        Raises Refusal, StoreError.
        """
        check_key(key, self._codepoints)
        manual = not self._bootstrapper.has_automatic_methods
        upload = upload_of(key, self._zone, _source_text(source), self.settings, now, replaces=False, manual=manual)
        found = replace(upload, method="on-demand", reason="it signed, and was looked up")
        await self._store.bootstraps.begin(self._as_published(found))
        await self._keys.refresh(key.owner)
        self._bootstrapper.wake()

    async def roll(self, provenance: Provenance, request: KeyRoll) -> None:
        """Add and delete keys under the signature of a trusted one; the ledger has it when this returns.

        Raises Refusal, StoreUnavailable.
        """
        roll = roll_of(provenance, request, self._zone, self.settings, self.rollover, self._codepoints)
        with refused_rolls():
            await self._store.bootstraps.roll(roll)
        await self._keys.refresh(request.child)

    async def keys_of(self, child: bytes) -> tuple[RingKey, ...]:
        """A child's keys as they are now. Raises StoreUnavailable."""
        return await self._keys.keys_of(child)

    async def standing(self, stored: StoredKey) -> tuple[StoredKey, Bootstrap | None]:
        """A known key as it is now, whatever memory says, and its bootstrap while it is known.

        Raises StoreUnavailable.
        """
        bootstrap = await self._store.bootstraps.get(stored.id)
        if bootstrap is not None:
            return stored, bootstrap
        current = await self._store.keys.get(stored.id) or stored
        if current.state is not stored.state:
            # who is told that its key is trusted may sign with it from then on
            await self._keys.refresh(stored.key.owner)
        return current, None


def _source_text(source: Source) -> str:
    """What counts as one source, for people: an IPv4 address, or the /64 of an IPv6 address, and UDP by itself."""
    key, is_udp = source.counted
    text = key if isinstance(key, str) else f"{inet_ntop(AF_INET6, key + bytes(8))}/64"
    return f"{text}{FORGEABLE}" if is_udp else text
