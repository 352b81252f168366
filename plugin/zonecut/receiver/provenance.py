"""Where an accepted request comes from: what the ledger and the audit trail keep of it, and what lets it count."""

import secrets
from dataclasses import dataclass
from typing import Self

from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.sig0 import seconds_until
from zonecut.receiver.message.authentication import Authenticated
from zonecut.store import ChangeKind, NewChange

_BY = " by "


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who asks for a change of a child's delegation or keys, from where, and in which message.

    `identity` is the same for the same request only, and remembered until `expires_at`, in seconds since the epoch.
    `inception`, that of its signature, `key_id` and `key_tag` are None for what came without a signature.
    """

    child: bytes
    actor: str
    source: str
    message: bytes
    identity: bytes
    expires_at: float
    key_id: int | None = None
    key_tag: int | None = None
    inception: int | None = None

    @classmethod
    def signed(cls, authenticated: Authenticated, source: str, now: float, fudge: int) -> Self:
        """That of a request under a child's key. It may be replayed until it expires, and for what clocks differ."""
        key, signature = authenticated.key, authenticated.signature
        return cls(
            child=key.owner,
            actor=names.to_text(key.owner),
            source=source,
            message=authenticated.admitted.envelope.wire,
            identity=authenticated.identity,
            expires_at=now + seconds_until(signature.expiration, int(now)) + fudge,
            key_id=authenticated.stored.id if authenticated.stored else None,
            key_tag=key.tag,
            inception=signature.inception,
        )

    @classmethod
    def posted(cls, child: bytes, actor: str, source: str, message: bytes, now: float) -> Self:
        """That of a request which somebody posts whose word counts; `message` is the same as an UPDATE, unsigned.

        Each is another one, and none is replayed.
        """
        return cls(child, actor, f"{source}{_BY}{actor}", message, secrets.token_bytes(32), now)

    def record(
        self,
        zone: bytes,
        before: Delegation,
        after: Delegation,
        kind: ChangeKind = ChangeKind.DELEGATION,
        *,
        held_because: str | None = None,
        replaces: int | None = None,
    ) -> NewChange:
        """What the ledger records of a change: why it waits for an operator, and which held one it puts an end to."""
        return NewChange(
            zone=zone,
            actor=self.actor,
            key_id=self.key_id,
            key_tag=self.key_tag,
            source=self.source,
            before=before,
            after=after,
            message=self.message,
            identity=self.identity,
            expires_at=self.expires_at,
            inception=self.inception,
            kind=kind,
            held_because=held_because,
            replaces=replaces,
        )


def channel_of(source: str) -> str:
    """Through what a request came whose ledger entry has this source: `hook`, say; whose address is nobody's business.

    It came without a child's signature.
    """
    return f"the {actor_of(source).partition(':')[0]}"


def actor_of(source: str) -> str:
    """Who asked for what has this source in the ledger; it came without a child's signature."""
    return source.rpartition(_BY)[2]
