"""How far a server keeps to prerequisites (RFC 2136 section 3.2), found out by UPDATEs that change nothing."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.envelope import Envelope
from zonecut_bind.answers import CONFLICTS
from zonecut_bind.dialect import Operation

Ask = Callable[[Sequence[tuple[bytes, Operation]]], Awaitable[list[Envelope]]]

_ABSENT = b"\x0czonecut-asks"
"""The label of a name that no zone has."""
_NAMED = 3
"""So many name servers are named in a remark."""
_OF_TYPE = 2
"""So many RRsets of one type are tried."""
_TYPES = (RRType.NS, RRType.A, RRType.AAAA)
_OTHERS = {int(RRType.A): bytes(4), int(RRType.AAAA): bytes(16)}
"""Addresses that no host has."""


class Conditions(StrEnum):
    """What the prerequisites of an UPDATE are worth."""

    EXACT = "exact"
    """An RRset is compared as a whole: what is written is conditional on what was believed."""
    COARSE = "coarse"
    """That an RRset is there, or is not, is looked at, and not, or not always, what it holds."""
    NONE = "none"
    """They are not looked at, or none is taken."""


@dataclass(frozen=True, slots=True)
class Place:
    """An RRset that the zone holds."""

    owner: bytes
    rtype: int
    rdatas: tuple[bytes, ...]


def places(zone: bytes, apex: Iterable[bytes], there: Iterable[Delegation]) -> list[Place]:
    """Where to try it: of each type the largest RRsets, and the NS of the apex, which no child changes."""
    found = [Place(zone, int(RRType.NS), tuple(sorted(apex)))]
    rrsets = [Place(*key, tuple(rdatas)) for each in there for key, rdatas in each.rrsets.items()]
    for rtype in _TYPES:
        found += sorted((each for each in rrsets if each.rtype == rtype), key=_rank)[:_OF_TYPE]
    return sorted(found, key=_rank)


def shows_worth(delegation: Delegation) -> bool:
    """True if it has an RRset on which can be tried whether it is compared as a whole."""
    return any(rtype in _TYPES and len(rdatas) > 1 for (_, rtype), rdatas in delegation.rrsets.items())


def _rank(place: Place) -> int:
    return -len(place.rdatas)


async def worth(zone: bytes, tried: Sequence[Place], ask: Ask) -> Conditions | None:
    """What prerequisites are worth here, by what they are worth at these places. None: that is not known."""
    found = []
    for place in tried:
        found.append(await conditions(zone, place, ask))
        if found[-1] is Conditions.EXACT:
            return Conditions.EXACT
    if Conditions.COARSE in found:
        return Conditions.COARSE
    # where somebody has just taken the RRset away, it looks the same at one place, and not at the others
    return None if None in found else Conditions.NONE


async def conditions(zone: bytes, place: Place, ask: Ask) -> Conditions | None:
    """What prerequisites are worth here, tried on one RRset.

    None if that cannot be told: the server takes no UPDATE from us, or the RRset has one record only, so that nobody
    sees whether it is compared as a whole, or it is another one by now, or compared in another way than it was shown.
    """
    tried = dict(_questions(zone, place))
    asked = [(message.update(0, zone, prerequisites, ()), Operation.UPDATE) for prerequisites, _ in tried.values()]
    answers = dict(zip(tried, await ask(asked), strict=True))
    if all(answer.rcode in (Rcode.REFUSED, Rcode.NOTAUTH) for answer in answers.values()):
        return None
    wrong = {each for each, (_, holds) in tried.items() if not _is(answers[each], holds)}
    if wrong & {"is not there", "another is not there"}:
        return Conditions.NONE
    if wrong == {"holds what it holds"} and answers["holds what it holds"].rcode in CONFLICTS:
        return None
    if wrong:
        return Conditions.COARSE
    return Conditions.EXACT if "holds less" in tried else None


def _questions(zone: bytes, place: Place) -> Iterator[tuple[str, tuple[list[bytes], bool]]]:
    """Prerequisites, and whether they hold."""
    owner, rtype = place.owner, place.rtype
    held = [message.rrset_holds(owner, rtype, each) for each in place.rdatas]
    yield "holds what it holds", (held, True)
    if len(held) > 1:
        yield "holds less", (held[:-1], False)
    other = _OTHERS.get(rtype, _ABSENT + zone)
    yield "holds more", ([*held, message.rrset_holds(owner, rtype, other)], False)
    yield "is not there", ([message.rrset_absent(owner, rtype)], False)
    yield "another is not there", ([message.rrset_absent(_ABSENT + zone, RRType.NS)], True)


def _is(answer: Envelope, holds: bool) -> bool:
    return answer.rcode == Rcode.NOERROR if holds else answer.rcode in CONFLICTS


def said(found: Conditions | None, server: str, zone: bytes) -> str:
    """What is lost with such prerequisites, or is not known of them, as a sentence for the operator; "" for EXACT."""
    text = names.to_text(zone)
    if found is Conditions.EXACT:
        return ""
    if found is None:
        return (
            f"whether {server} compares what an RRset holds as a whole with prerequisites (RFC 2136 section 3.2) in "
            f"UPDATEs of {text} is not known: it takes none from us now, or no delegation that was looked at has two "
            "name servers or addresses to try it on; UPDATEs carry such prerequisites all the same, after a transfer "
            "of the zone each, and it is tried again when one is taken; until then let nobody else edit delegations "
            "while zonecut runs"
        )
    which = "does not compare what an RRset holds" if found is Conditions.COARSE else "does not look at"
    what = "with prerequisites" if found is Conditions.COARSE else "prerequisites"
    return (
        f"{server} {which} {what} (RFC 2136 section 3.2) in UPDATEs of {text}: each change takes two "
        "transfers of the zone, and what somebody else edits between our look and our write is overwritten; let nobody "
        "else edit delegations while zonecut runs, or use an adapter for this kind of server"
    )


def refused(server: str, delegation: Delegation) -> str:
    """That a server refuses a prerequisite which states what it holds, as a sentence for the operator."""
    targets = ", ".join(map(names.to_text, delegation.ns[:_NAMED]))
    return (
        f"{server} refuses a prerequisite that states what it holds, {names.to_text(delegation.child)} NS {targets}, "
        "as Knot does where a name was typed with capitals: what somebody else edits there between our look and our "
        "write is overwritten; have these name servers written in lower case"
    )
