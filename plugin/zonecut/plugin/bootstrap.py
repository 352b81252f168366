"""The BootstrapMethod interface: how a child's uploaded key is found to belong to the child, without an operator.

A method looks at the world through `Lookups` and concludes; when to look, how often, and what then becomes of the key
is the receiver's business. Everything begins as "no": a method that is not sure says UNDECIDED.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from pydantic import BaseModel

from zonecut.protocol.delegation import Delegation
from zonecut.protocol.foreigntext import clip
from zonecut.protocol.keys import Key


class Security(StrEnum):
    """What DNSSEC validation by our own means says (RFC 4035 section 4.3)."""

    SECURE = "secure"
    INSECURE = "insecure"
    """Proven to be unsigned."""
    BOGUS = "bogus"
    INDETERMINATE = "indeterminate"


class Presence(StrEnum):
    """Whether a KEY RRset stands at a name."""

    FOUND = "found"
    ABSENT = "absent"
    """The answer says that there is none; what `Security` goes with it says how much that is worth."""
    UNUSABLE = "unusable"
    """An alias, or synthesised from a wildcard: it counts for nothing."""
    FAILED = "failed"
    """No usable answer."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was seen of a KEY RRset at one place. `where` and `reason` are words for people."""

    where: str
    presence: Presence
    security: Security
    keys: frozenset[bytes] = frozenset()
    """The KEY RDATA of the RRset."""
    signer: bytes | None = None
    """The zone whose signature makes it secure."""
    reason: str = ""
    ttl: int | None = None
    """Where a resolver said it: for how many seconds it will say the same without asking anybody. None: it was asked
    of the server itself."""
    is_ours: bool = False
    """With FAILED: what failed is a look-up of ours, and not a server of the child that was asked."""

    @property
    def is_secure(self) -> bool:
        return self.security is Security.SECURE


class Lookups(Protocol):
    """The world as a method may see it. None of these raises for what a server does or does not answer."""

    async def keys_at(self, name: bytes) -> Sighting:
        """The KEY RRset at a name, through the configured resolvers, validated by our own means."""
        ...

    async def keys_under(self, delegation: Delegation) -> Sighting:
        """The KEY RRset at the child's apex, as `keys_at`, and secure only under the DS of this very delegation.

        A chain of trust out of a cache may lead to whoever had the name before.
        """
        ...

    async def ds_at(self, child: bytes) -> Sighting:
        """The DS RRset that the parent has for a child, through the configured resolvers, validated by our own means.

        `keys` is empty. ABSENT and secure: it is proven that the child is delegated without DS, or lies in an opt-out
        span; ABSENT and insecure: it is proven that no chain of trust leads to its parent.
        """
        ...

    async def keys_from_servers(self, delegation: Delegation, vantage_point: str | None = None) -> Sequence[Sighting]:
        """The KEY RRset at the child's apex, from every address of every name server of its delegation, over TCP.

        A name server without an address is a FAILED sighting. `vantage_point`: one of `vantage_points`, or ours.
        """
        ...

    @property
    def vantage_points(self) -> Sequence[str]:
        """The names of further places from which to look."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A key that wants to be trusted, and the delegation that the parent holds for its owner now."""

    key: Key
    delegation: Delegation
    evidence: Mapping[str, Any]
    """What the method kept of its earlier attempts, in values that JSON has."""
    now: float
    """Seconds since the epoch."""


class Conclusion(StrEnum):
    """What a method found."""

    ACCEPTED = "accepted"
    CONTRADICTED = "contradicted"
    """What is published says otherwise. It is looked at again, since a publication may be late."""
    UNDECIDED = "undecided"
    """It cannot be told now."""
    NOT_APPLICABLE = "not-applicable"
    """This method says nothing about such a child."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A conclusion with its reason in words."""

    conclusion: Conclusion
    reason: str
    validated: frozenset[bytes] = frozenset()
    """With ACCEPTED: the KEY RDATA of the RRset that was validated."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """What to keep for the next attempt."""
    again_in: float | None = None
    """With UNDECIDED: look again in so many seconds, and do not count this attempt as a failed one."""
    is_ours: bool = False
    """With UNDECIDED: a fault of our own kept it from telling. The look is made again, and costs the child nothing."""

    def __post_init__(self) -> None:
        # it tells what servers answered
        object.__setattr__(self, "reason", clip(self.reason))


class BootstrapMethod(ABC):
    """One way to find that a key belongs to its child."""

    replaces_trusted: bool = True
    """Whether a key that it accepts may come beside, or in place of, one that is trusted already."""

    @abstractmethod
    async def examine(self, candidate: Candidate, lookups: Lookups) -> Finding:
        """Look once. Raises nothing that has to do with what servers answer."""


@dataclass(frozen=True, slots=True)
class Method:
    """A kind of bootstrap method: its name as in the configuration and in SVCB, the pydantic model of its options
    (with `extra="forbid"`), and what makes a BootstrapMethod of them."""

    name: str
    options: type[BaseModel]
    create: Callable[[Any], BootstrapMethod]
