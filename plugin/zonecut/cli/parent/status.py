"""`zonecut parent status`: what the zone's server announces, and what it should."""

import time
from typing import NamedTuple

import typer

from zonecut.cli import session
from zonecut.cli.failures import Exit
from zonecut.cli.options import ConfigOption, JsonOption, ZoneArgument
from zonecut.cli.parent.plan import Parent
from zonecut.cli.terminal import output
from zonecut.protocol.rrset import RRset, RRsetDifference
from zonecut.receiver.announce.identity import Identity


class _Status(NamedTuple):
    now: float
    identity: Identity | None
    held: tuple[RRset, ...]
    difference: RRsetDifference


def command(zone: ZoneArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show what the zone's server holds at the names that concern us, and where it differs from what it should.

    It also says with which key the receiver signs, and where a roll of that key stands.

    Exit code 3: it differs, or there is no key yet.

    Example: zonecut parent status parent.example.
    """
    parent = Parent(session.load(config), zone)
    status = session.run(_look(parent))
    if as_json:
        _say_json(parent, status)
    else:
        _say(parent, status)
    raise typer.Exit(Exit.DIFFERENT if status.difference or status.identity is None else Exit.DONE)


async def _look(parent: Parent) -> _Status:
    identity = parent.identities.directory.find(parent.announcement.target)
    async with parent.announcer() as announcer:
        held = await announcer.held()
        now = time.time()
        return _Status(now, identity, held, announcer.missing(held, identity, now))


def _say_json(parent: Parent, status: _Status) -> None:
    codepoints = parent.announcement.codepoints
    output.say_json(
        {
            "zone": parent.zone,
            "target": parent.target,
            "publish": parent.section.publish,
            "key": None if status.identity is None else status.identity.to_json(status.now),
            "held": [record.to_text(codepoints) for rrset in status.held for record in rrset.records],
            "difference": status.difference.to_json(codepoints),
        }
    )


def _say(parent: Parent, status: _Status) -> None:
    codepoints = parent.announcement.codepoints
    fields: dict[str, object] = {"target": parent.target, "publish": "yes" if parent.section.publish else "no"}
    if status.identity is None:
        fields["key"] = "none there; if there never was one, the first start or `parent publish` makes it"
    else:
        key = status.identity.to_json(status.now)
        fields["signs"] = f"{key['signer']['tag']}  {key['signer']['fingerprint']}"
        fields["phase"] = key["phase"]
        fields["new key signs"] = key["signs_at"]
        fields["old key goes"] = key["ends_at"]
    output.say_fields(parent.zone, fields)
    output.say_block(
        "".join(rrset.to_text(codepoints) for rrset in status.held).rstrip("\n") or "; the zone holds nothing"
    )
    if status.difference:
        output.say("; to be as configured (-: too much, +: missing):")
    parent.say_difference(status.difference)
