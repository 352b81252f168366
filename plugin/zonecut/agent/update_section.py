"""From a difference to the update section that makes up for it (RFC 2136 section 2.5). Pure."""

from collections.abc import Iterable
from enum import StrEnum

from zonecut.protocol import message
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation, Difference, Ttls


class Style(StrEnum):
    """How a difference is sent. Both give the same result."""

    DELTA = "delta"
    """The records that differ, each by itself."""
    REPLACE = "replace"
    """The RRsets that differ, as a whole."""


def update_records(before: Delegation, after: Delegation, style: Style, ttls: Ttls) -> tuple[bytes, ...]:
    """The records of an UPDATE that turns one delegation into another; none where they are equal.

    Uncompressed, as `protocol.message` makes them. `ttls` are what is sent; the parent publishes its own.
    """
    difference = Difference.between(before, after)
    if style is Style.REPLACE:
        return replacements(after, [difference], ttls)
    # first what comes, then what goes: whoever applies them one by one never sees a delegation without NS
    return (
        *(message.add(owner, rtype, ttls.of(rtype), rdata) for owner, rtype, rdata in difference.added),
        *(message.delete_record(owner, rtype, rdata) for owner, rtype, rdata in difference.removed),
    )


def prerequisites(before: Delegation, after: Delegation) -> tuple[bytes, ...]:
    """The prerequisites under which an UPDATE turns one delegation into another (RFC 2136 sections 2.4.2 and 2.4.3).

    They say what the NS RRset and all that differ hold before: somebody who holds the message back while the
    delegation becomes another one has nothing in hand.
    """
    difference = Difference.between(before, after)
    differing = {(record.owner, record.rtype) for record in (*difference.removed, *difference.added)}
    found: list[bytes] = []
    for owner, rtype in sorted({(before.child, int(RRType.NS)), *differing}):
        rdatas = before.rrsets.get((owner, rtype), ())
        found += [message.rrset_holds(owner, rtype, rdata) for rdata in rdatas]
        if not rdatas:
            found.append(message.rrset_absent(owner, rtype))
    return tuple(found)


def replacements(after: Delegation, differences: Iterable[Difference], ttls: Ttls) -> tuple[bytes, ...]:
    """The same for whichever of several delegations it is, by the RRsets in which any of them differs, as a whole."""
    records = [record for each in differences for record in (*each.removed, *each.added)]
    found: list[bytes] = []
    for owner, rtype in sorted({(record.owner, record.rtype) for record in records}):
        found.append(message.delete_rrset(owner, rtype))
        found += [message.add(owner, rtype, ttls.of(rtype), rdata) for rdata in after.rrsets.get((owner, rtype), ())]
    return tuple(found)
