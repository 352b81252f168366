"""Where a child finds who takes its changes: the search for DSYNC records (RFC 9859 section 4.1).

A secure answer is the result, whichever name it is at: an insecure one, which anybody on the way can make below an
opt-out span, counts only where no name has a secure one. What a wildcard made counts, since that is how a parent
announces for all its children, and so does what an alias leads to: RFC 9859 asks for a look-up, and those follow CNAME
(RFC 1034 section 3.6.2). But each alias has to be secure. An answer that is bogus, or of which nothing is known, ends
the search: who blocks one step must not lead to another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from zonecut.protocol import names
from zonecut.protocol.announced import dsync
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.codepoints import DEFAULT, CodePoints, RRType
from zonecut.protocol.errors import MalformedMessage
from zonecut.resolve import Answer, Status, Verdict

_POSITIVE = frozenset((Status.FOUND, Status.WILDCARD))
_NEGATIVE = frozenset((Status.NODATA, Status.NXDOMAIN))
_USABLE = frozenset((Verdict.SECURE, Verdict.INSECURE))

MAX_ALIASES = 4
"""That are followed one after the other."""


class Lookups(Protocol):
    """What is needed of a `Resolver`."""

    async def lookup(self, name: bytes, rtype: int) -> Answer:
        """The records of one type at a wire-form name."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One look-up of a search, and in one sentence what it taught."""

    name: bytes
    answer: Answer
    learned: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a search ended in.

    `parent` is the zone in which the child is delegated, None if that could not be found out. `records` are those that
    mean anything; `verdict` says what they, or their absence, are worth. With BOGUS and INDETERMINATE there are none,
    and nothing is known about what the parent announces. With `is_remembered` an earlier, secure announcement stands
    there in place of an insecure one that the search ended in.
    """

    child: bytes
    parent: bytes | None
    steps: tuple[Step, ...]
    verdict: Verdict
    records: tuple[Dsync, ...]
    codepoints: CodePoints = DEFAULT
    is_remembered: bool = False

    @property
    def is_known(self) -> bool:
        """The parent's announcement, or that there is none, is known: securely, or because nothing there is secure."""
        return self.verdict in _USABLE

    @property
    def updates(self) -> tuple[Dsync, ...]:
        """The receivers of UPDATEs, in an order that does not depend on the answer's."""
        return dsync.for_update(self.records, self.codepoints)

    def notifies(self, rrtype: int) -> tuple[Dsync, ...]:
        """Where NOTIFY messages for this type (CDS or CSYNC) go (RFC 9859 section 4.2)."""
        return dsync.for_notify(self.records, rrtype)

    @property
    def reason(self) -> str:
        """What the search ended in, in one sentence."""
        if not self.is_known:
            return self.steps[-1].learned if self.steps else "nothing was looked up"
        if self.is_remembered:
            return "an insecure announcement counts for less than the secure one before it, which is used"
        if not self.records:
            return f"nothing is announced for {names.to_text(self.child)}"
        return f"{len(self.records)} usable DSYNC records, {self.verdict}"

    def to_json(self) -> dict[str, Any]:
        return {
            "child": names.to_text(self.child),
            "parent": None if self.parent is None else names.to_text(self.parent),
            "verdict": self.verdict.value,
            "reason": self.reason,
            "remembered": self.is_remembered,
            "records": [record.to_text(self.codepoints) for record in self.records],
            "steps": [
                {
                    "name": names.to_text(step.name),
                    "type": RRType(step.answer.rtype).text,
                    "status": step.answer.status.value,
                    "verdict": step.answer.verdict.value,
                    "reason": step.answer.reason,
                    "learned": step.learned,
                }
                for step in self.steps
            ],
        }


async def discover(
    resolver: Lookups, child: bytes, *, codepoints: CodePoints = DEFAULT, parent: bytes | None = None
) -> Discovery:
    """Search for what the parent of `child` announces. `parent`, if given, is the parent zone as configured.

    Look-ups raise nothing. Raises ValueError for the root, and for a parent that is not above the child.
    """
    if child == names.ROOT:
        raise ValueError("the root has no parent")
    if parent is not None and not names.is_below(child, parent):
        raise ValueError(f"{names.to_text(child)} is not below {names.to_text(parent)}")
    return await _Search(resolver, child, codepoints, parent).run()


class _Place(NamedTuple):
    """A name to ask at. `jumped`: an SOA record led there that anybody could have written."""

    name: bytes
    jumped: bool


class _Search:
    def __init__(self, resolver: Lookups, child: bytes, codepoints: CodePoints, parent: bytes | None) -> None:
        self._resolver = resolver
        self._child = child
        self._codepoints = codepoints
        self._configured = parent
        self._parent = parent
        self._parent_is_proven = parent is not None
        self._steps: list[Step] = []
        self._weakest = Verdict.SECURE

    async def run(self) -> Discovery:
        waiting = self._first()
        asked: set[bytes] = set()
        insecure: tuple[Dsync, ...] | None = None
        while waiting:
            place = waiting.pop(0)
            asked.add(place.name)
            first = answer = await self._resolver.lookup(place.name, RRType.DSYNC)
            if first.status is Status.ALIAS:
                answer = await self._behind(first)
            if insecure is not None and _says_nothing(answer):
                self._keep(answer, f"nothing that would count for more: {answer.reason}")
                continue
            if answer.verdict not in _USABLE or answer.status not in _POSITIVE | _NEGATIVE:
                return self._stop(answer)
            if answer.status in _POSITIVE:
                verdict = Verdict.INSECURE if place.jumped else answer.verdict
                records = self._found(answer, verdict)
                if verdict is Verdict.SECURE:
                    self._note_parent(first.signer, proven=True)
                    return await self._end(verdict, records)
                insecure = records if insecure is None else insecure
            else:
                self._keep(answer, _absence(answer))
            self._note_parent(_zone_of(first), proven=first.verdict is Verdict.SECURE)
            following = [each for each in self._following(place, first) if each.name not in asked]
            if answer.verdict is Verdict.SECURE and not place.jumped:
                waiting = []  # it is proven where the parent is
            elif answer.verdict is Verdict.INSECURE:
                self._weakest = Verdict.INSECURE
            waiting = [*following, *waiting]
        if insecure is not None:
            return await self._end(Verdict.INSECURE, insecure)
        return await self._end(self._weakest, ())

    def _first(self) -> list[_Place]:
        try:
            return [_Place(dsync.first_name(self._child), False)]
        except ValueError:
            return []  # too long: no parent can publish anything there

    def _following(self, place: _Place, answer: Answer) -> list[_Place]:
        """Where to ask next: what is next if the parent is where it is supposed to be, then where an SOA says it is."""
        supposed = dsync.parent_in(place.name)
        near = self._next(place.name, self._configured or supposed)
        told = _zone_of(answer)
        led = self._next(place.name, self._configured or told)
        if answer.verdict is Verdict.SECURE:
            if led is None and told is not None and self._configured is None and names.is_below(supposed, told):
                led = self._next(dsync.first_name(self._child), told)
            return [] if led is None else [_Place(led, place.jumped)]
        # a SOA record that anybody could have written leads to what may be somebody else's announcement
        jumped = place.jumped or self._configured is None
        found = [] if near is None else [_Place(near, place.jumped)]
        return found if led is None or led == near else [*found, _Place(led, jumped)]

    def _next(self, asked: bytes, soa: bytes | None) -> bytes | None:
        try:
            return dsync.next_name(self._child, asked, soa)
        except ValueError:
            return None

    async def _behind(self, alias: Answer) -> Answer:
        """What an alias leads to; a failure unless each alias on the way is secure, and there are not too many."""
        answer, seen = alias, {alias.name}
        while answer.status is Status.ALIAS and answer.verdict is Verdict.SECURE and answer.target is not None:
            if answer.target in seen or len(seen) > MAX_ALIASES:
                break
            seen.add(answer.target)
            self._keep(answer, f"secure: an alias, that leads to {names.to_text(answer.target)}")
            answer = await self._resolver.lookup(answer.target, RRType.DSYNC)
        return answer

    def _found(self, answer: Answer, verdict: Verdict) -> tuple[Dsync, ...]:
        records, unreadable = _read(answer.rdatas)
        usable = dsync.usable(records, self._codepoints)
        learned = "; ".join(record.to_text(self._codepoints) for record in usable) or "no record that means anything"
        if meaningless := unreadable + len(records) - len(usable):
            learned += f"; {meaningless} that mean nothing"
        if answer.status is Status.WILDCARD:
            learned += " (for all children, by a wildcard)"
        self._keep(answer, f"{verdict}: {learned}")
        return usable

    async def _end(self, verdict: Verdict, records: Sequence[Dsync]) -> Discovery:
        if self._parent is None:
            await self._look_for_parent()
        return Discovery(self._child, self._parent, tuple(self._steps), verdict, tuple(records), self._codepoints)

    async def _look_for_parent(self) -> None:
        """The child is delegated in the zone that holds the name above it."""
        above = names.parent(self._child)
        answer = await self._resolver.lookup(above, RRType.SOA)
        if answer.verdict in _USABLE and answer.status is Status.FOUND:
            self._note_parent(above)
        elif answer.verdict in _USABLE and answer.status in _NEGATIVE:
            self._note_parent(answer.soa)
        known = f"the parent zone is {names.to_text(self._parent)}" if self._parent else "the parent zone is not known"
        self._keep(answer, known if answer.verdict in _USABLE else f"{known}: {answer.verdict}: {answer.reason}")

    def _note_parent(self, zone: bytes | None, *, proven: bool = False) -> None:
        if zone is None or not names.is_below(self._child, zone):
            return  # a zone at `_dsync` or below is not the one that holds the delegation
        if self._parent is None or (proven and not self._parent_is_proven):
            self._parent, self._parent_is_proven = zone, proven

    def _stop(self, answer: Answer) -> Discovery:
        verdict = answer.verdict if answer.verdict not in _USABLE else Verdict.INDETERMINATE
        self._keep(answer, f"not usable: {answer.verdict}, {answer.status}: {answer.reason}")
        return Discovery(self._child, self._parent, tuple(self._steps), verdict, (), self._codepoints)

    def _keep(self, answer: Answer, learned: str) -> None:
        self._steps.append(Step(answer.name, answer, learned))


def _zone_of(answer: Answer) -> bytes | None:
    """The zone that an answer comes from: the one that signed it, or that its SOA record names."""
    return answer.soa or answer.signer


def _says_nothing(answer: Answer) -> bool:
    """No answer, and none that came could have been secure."""
    return answer.verdict is Verdict.INSECURE and answer.status is Status.FAILED


def _absence(answer: Answer) -> str:
    there = "no such name" if answer.status is Status.NXDOMAIN else "nothing of that type"
    if answer.soa is None:
        return f"{answer.verdict}: {there}, and no SOA that says in which zone"
    return f"{answer.verdict}: {there} in the zone {names.to_text(answer.soa)}"


def _read(rdatas: Sequence[bytes]) -> tuple[list[Dsync], int]:
    """The DSYNC records among these RDATA, and how many are none."""
    records = []
    for rdata in rdatas:
        try:
            records.append(Dsync.from_wire(rdata))
        except MalformedMessage:
            continue
    return records, len(rdatas) - len(records)
