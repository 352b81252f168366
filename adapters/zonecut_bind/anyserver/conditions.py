"""How far a server keeps to prerequisites (RFC 2136 section 3.2), found out by UPDATEs that change nothing."""

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum

from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.envelope import Envelope
from zonecut_bind.answers import CONFLICTS
from zonecut_bind.dialect import Operation

Ask = Callable[[Sequence[tuple[bytes, Operation]]], Awaitable[list[Envelope]]]

_ABSENT = b"\x0czonecut-asks"
"""The label of a name that no zone has."""


class Conditions(StrEnum):
    """What the prerequisites of an UPDATE are worth."""

    EXACT = "exact"
    """An RRset is compared as a whole: what is written is conditional on what was believed."""
    COARSE = "coarse"
    """That an RRset is there, or is not, is looked at, and not, or not always, what it holds."""
    NONE = "none"
    """They are not looked at, or none is taken."""


async def conditions(zone: bytes, owner: bytes, targets: Sequence[bytes], ask: Ask) -> Conditions | None:
    """What prerequisites are worth here, tried on the NS RRset of this owner, which the zone holds.

    None if that cannot be told: the server takes no UPDATE from us, or the RRset has one record only, so that nobody
    sees whether it is compared as a whole.
    """
    ns = int(RRType.NS)
    held = [message.rrset_holds(owner, ns, target) for target in targets]
    more = [*held, message.rrset_holds(owner, ns, _ABSENT + zone)]
    tried = {
        "holds what it holds": (held, True),
        "holds less": (held[:-1], False),
        "holds more": (more, False),
        "is not there": ([message.rrset_absent(owner, ns)], False),
        "another is not there": ([message.rrset_absent(_ABSENT + zone, ns)], True),
    }
    if len(targets) < 2:
        del tried["holds less"]
    asked = [(message.update(0, zone, prerequisites, ()), Operation.UPDATE) for prerequisites, _ in tried.values()]
    answers = dict(zip(tried, await ask(asked), strict=True))
    if all(answer.rcode in (Rcode.REFUSED, Rcode.NOTAUTH) for answer in answers.values()):
        return None
    right = {each for each, (_, holds) in tried.items() if _is(answers[each], holds)}
    if not {"is not there", "another is not there"} <= right:
        return Conditions.NONE
    if len(right) < len(tried):
        return Conditions.COARSE
    return Conditions.EXACT if "holds less" in tried else None


def _is(answer: Envelope, holds: bool) -> bool:
    return answer.rcode == Rcode.NOERROR if holds else answer.rcode in CONFLICTS


def lost(found: Conditions, server: str, zone: bytes) -> str:
    """What is lost with such prerequisites, as a sentence for the operator."""
    which = "does not compare what an RRset holds" if found is Conditions.COARSE else "does not look at"
    what = "with prerequisites" if found is Conditions.COARSE else "prerequisites"
    return (
        f"{server} {which} {what} (RFC 2136 section 3.2) in UPDATEs of {names.to_text(zone)}: each change takes two "
        "transfers of the zone, and what somebody else edits between our look and our write is overwritten; let nobody "
        "else edit delegations while zonecut runs, or use an adapter for this kind of server"
    )
