"""Where a child zone's agent stands: what it knows, what it does next, and why; kept in the store as one document."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

from zonecut.agent.zone.caches import Sight
from zonecut.store import StoreError


class DamagedState(StoreError):
    """The document in the store is none of a state that this version knows; it stays as it is."""


class Phase(StrEnum):
    """How far a zone has come. Each but HELD says what the agent does next."""

    NO_KEY = "no-key"
    """Make a key and publish it."""
    PUBLISHED = "key-published"
    """Wait until the world sees it."""
    ASKING = "asking"
    """Ask the receiver what the key is worth."""
    BOOTSTRAPPING = "bootstrapping"
    """The key was uploaded, or has to be; ask until it is trusted."""
    TRUSTED = "trusted"
    """Compare the child with what the parent publishes."""
    IN_SYNC = "in-sync"
    """Watch the child, and look at the parent now and then."""
    OUT_OF_SYNC = "out-of-sync"
    """Send what differs, and look until the parent publishes it."""
    HELD = "held"
    """Something has to be done by a person; tried again now and then all the same."""


class Stage(StrEnum):
    """How far the roll of a key has come; at every stage the parent trusts at least one key that we hold."""

    PUBLISH = "publish"
    """The new key is published beside the old one."""
    ADD = "add"
    """It is added at the parent under the old one's signature."""
    ASK = "ask"
    """The parent is asked, with the new one, whether it is trusted."""
    WAIT = "wait"
    """Both are trusted; the old one signs until the new one has been published long enough."""
    DELETE = "delete"
    """The new one signs; the old one is deleted at the parent."""
    UNPUBLISH = "unpublish"
    """The old one is taken out of the child zone, and put aside."""


@dataclass(frozen=True, slots=True)
class Roll:
    """A roll of the key under way. `other` is the fingerprint of the key that does not sign: the new one, once it is
    made, until WAIT is over, then the old one. `since` is when the stage began."""

    stage: Stage
    since: float
    other: str | None = None
    attempts: int = 0
    """Failures in a row, since it came to a stage for the first time."""
    next_at: float = 0.0
    """When its next step is due after a failure."""
    furthest: Stage | None = None
    """The last stage that it has come to; it may have gone back since."""
    vouched: bool = True
    """Whether somebody vouches for the answer with which the new key was taken."""

    MOMENTS: ClassVar[tuple[str, ...]] = ("since", "next_at")

    def to_json(self) -> dict[str, Any]:
        return {
            "stage": self.stage.value,
            "since": self.since,
            "other": self.other,
            "attempts": self.attempts,
            "next_at": self.next_at,
            "furthest": None if self.furthest is None else self.furthest.value,
            "vouched": self.vouched,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Roll":
        """The roll in such a document; what an older version did not know has its default."""
        furthest = document.get("furthest")
        return cls(
            Stage(document["stage"]),
            document["since"],
            document["other"],
            document.get("attempts", 0),
            document.get("next_at", 0.0),
            None if furthest is None else Stage(furthest),
            document.get("vouched", True),
        )


_UNSEEN = 2
"""After so many times the pause that there should have been, what was between two looks is not known."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What has to be seen more than once before it is acted on, and nothing else between: at `looks` looks so far, from
    `since` to `last`; it takes `span` seconds at least."""

    subject: str
    since: float
    last: float
    looks: int
    span: float

    MOMENTS: ClassVar[tuple[str, ...]] = ("since", "last")

    def is_interrupted(self, time: float, pause: float) -> bool:
        """True if it is not known what was between the last look and this one: there should have been others, each
        after `pause` seconds at most."""
        return not self.since <= self.last <= time or time - self.last > _UNSEEN * pause

    def to_json(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "since": self.since,
            "last": self.last,
            "looks": self.looks,
            "span": self.span,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Watch":
        return cls(**{name: document[name] for name in ("subject", "since", "last", "looks", "span")})


_Timed = TypeVar("_Timed", Roll, Watch, Sight, "AgentState")


def _shifted(timed: _Timed, seconds: float) -> _Timed:
    """With its moments moved by so many seconds. What has not been, 0 or None, stays so."""
    return replace(timed, **{name: at + seconds for name in timed.MOMENTS if (at := getattr(timed, name))})


WATCHES = ("watch", "going", "disagreement", "silence")
_LISTS = ("announced", "receiver_keys", "published", "copies", "notes", "milestones")

_NUMBERS = ("attempts", "talks", "unheeded", "serial")


@dataclass(frozen=True, slots=True)
class AgentState:
    """Where one zone's agent stands. Times are in seconds since the epoch; keys are known by their fingerprints."""

    phase: Phase
    since: float
    reason: str = ""
    """Why it is where it is, in a sentence; the last failure, if there was one."""
    advice: str = ""
    """What the operator can do."""
    resumes: Phase | None = None
    """When HELD: the phase in which it is tried again."""
    next_at: float = 0.0
    """When the next step is due."""
    attempts: int = 0
    """Failures since all was last well, or a milestone was reached."""
    talks: int = 0
    """Messages to the receiver since then."""
    quiet_until: float = 0.0
    """When the next of them may go, if there were many."""
    milestones: tuple[str, ...] = ()
    """How far it has come since all was last well."""
    spent_until: float = 0.0
    """From when on as many messages may go to the receiver as after a quiet time."""
    stirred_until: float = 0.0
    """From when on as many changes of the zone end the pauses as after a quiet time."""
    decided_at: float = 0.0
    """When this was written down."""
    key: str | None = None
    """The key that signs."""
    key_since: float = 0.0
    published: tuple[str, ...] = ()
    """KEY records that we published at some time: none of them but today's stays, even if its file is lost."""
    copies: tuple[str, ...] = ()
    """The names below `_signal` where copies of them stand that we put there."""
    uploaded: bool = False
    """The receiver has taken the key, trusted or not."""
    rebootstrapped: bool = False
    """The key was forgotten by the receiver once already since the last change that it accepted."""
    refused_since: float | None = None
    """When the first refusal came since all was last well; one is no reason to stop, hours of them are."""
    doubted: bool = False
    """A refusal came: what the receiver makes of the key is asked before anything else."""
    sent: str | None = None
    """Digest of the delegation that the receiver accepted and the parent does not publish yet."""
    sent_at: float = 0.0
    vouched: bool = True
    """Whether somebody vouches for that acceptance: else only what the parent publishes tells."""
    accepted: str | None = None
    """Digest of the delegation that was accepted last, published or not."""
    unheeded: int = 0
    """How often it was accepted and not published in time."""
    differs_since: float | None = None
    """When the child and the parent were first seen to differ."""
    settled: str | None = None
    """Digest of the delegation that was last found at the parent, or accepted by one whose servers do not show it."""
    last: str | None = None
    """That delegation itself, its octets in hexadecimal: by it deletions are sent to a parent that does not show them.
    Without DS where the child did not say which there shall be."""
    serial: int | None = None
    """The serial of the version of the zone that was acted on last."""
    synced_at: float | None = None
    took: float | None = None
    """Seconds from the difference being seen to all of the parent's servers publishing the child's word."""
    checked_at: float = 0.0
    """When the parent's servers were last looked at."""
    word: str | None = None
    """What the receiver said of the key last."""
    word_at: float | None = None
    receiver: str | None = None
    """Whom it talks to, for people."""
    announced: tuple[str, ...] = ()
    """DSYNC records of receivers, from the last announcement that was secure or whose key is pinned."""
    announced_in: str | None = None
    """The parent zone that made it."""
    receiver_keys: tuple[str, ...] = ()
    """KEY records of receivers that were validated, or pinned: later answers are held against them if look-ups fail."""
    notes: tuple[str, ...] = ()
    """What does not hinder and should be known: records that were left out, servers of the parent that are silent, KEY
    records that are not published."""
    roll: Roll | None = None
    seen_in_zone: str | None = None
    """The key of ours whose KEY record was last seen in the zone."""
    displaced_at: float | None = None
    """When our KEY was first missed in the zone with somebody else's in its place."""
    replaced: bool = False
    """It was put back once already, since the parent trusts it."""
    spoke: str | None = None
    """By what the zone said which DS there shall be, when that was last proven: nothing else speaks in its place."""
    watch: Watch | None = None
    """What is being watched before the first DS goes to the parent, or the last one from there."""
    going: Watch | None = None
    """That DS of the parent are to go while others stay."""
    sights: tuple[Sight, ...] = ()
    """What the parent was seen to publish, for as long as caches may have it."""
    forgotten_until: float = 0.0
    """Until when caches may have such of it as had no room among the `sights`: so long all is as if they had."""
    unsigned_until: float = 0.0
    """Until when caches may have answers from when the zone was not signed."""
    disagreement: Watch | None = None
    """That the parent's servers show different things, without a look at which they did not."""
    silence: Watch | None = None
    """That these servers of the zone show nothing, without a look at which it were others."""

    MOMENTS: ClassVar[tuple[str, ...]] = (
        *("since", "next_at", "quiet_until", "decided_at", "key_since", "refused_since", "sent_at", "differs_since"),
        *("synced_at", "checked_at", "word_at", "displaced_at", "unsigned_until", "spent_until", "stirred_until"),
        "forgotten_until",
    )
    """What is a time on the clock: if that is set, it moves along, all of it."""

    def shifted(self, seconds: float) -> "AgentState":
        """The same after the clock was set by so many seconds: what has been is as long ago as it was."""
        return replace(
            _shifted(self, seconds),
            roll=None if self.roll is None else _shifted(self.roll, seconds),
            sights=tuple(_shifted(sight, seconds) for sight in self.sights),
            **{name: each and _shifted(each, seconds) for name in WATCHES for each in [getattr(self, name)]},
        )

    @property
    def does(self) -> Phase:
        """The phase whose step is taken next."""
        return self.resumes if self.phase is Phase.HELD and self.resumes is not None else self.phase

    def to_json(self) -> dict[str, Any]:
        """The document that the store keeps."""
        document: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in _LISTS:
            document[name] = list(getattr(self, name))
        for name in ("roll", *WATCHES):
            value = getattr(self, name)
            document[name] = None if value is None else value.to_json()
        document["sights"] = [sight.to_json() for sight in self.sights]
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "AgentState":
        """The state in such a document; what an older version did not know has its default. Raises DamagedState."""
        try:
            return cls._from_json(document)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DamagedState(f"what is kept of the zone is damaged, or a newer version's: {error!r}") from None

    @classmethod
    def _from_json(cls, document: Mapping[str, Any]) -> "AgentState":
        known = {field.name: document[field.name] for field in fields(cls) if field.name in document}
        known["phase"] = Phase(known["phase"])
        known["resumes"] = None if known.get("resumes") is None else Phase(known["resumes"])
        for name in _LISTS:
            known[name] = tuple(known.get(name, ()))
        known["roll"] = None if known.get("roll") is None else Roll.from_json(known["roll"])
        known["sights"] = tuple(map(Sight.from_json, known.get("sights", ())))
        for name in WATCHES:
            known[name] = None if known.get(name) is None else Watch.from_json(known[name])
        state = cls(**known)
        for field in fields(cls):
            value = getattr(state, field.name)
            # what may not be known, or has not been, is None by default
            is_right = isinstance(value, int | float) or (value is None and field.default is None)
            if field.name in (*cls.MOMENTS, *_NUMBERS) and not is_right:
                raise ValueError(f"{field.name}: {value!r} is no number")
        return state
