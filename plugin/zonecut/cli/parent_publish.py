"""`zonecut parent publish`: write the records that announce the receiver."""

import time
from typing import TYPE_CHECKING

import typer

from zonecut.cli import output, session
from zonecut.cli.failures import Exit
from zonecut.cli.options import ConfigOption, DryRunOption, JsonOption, ZoneArgument
from zonecut.cli.parent_plan import Parent

if TYPE_CHECKING:
    from zonecut.protocol.rrset import RRsetDifference


def command(
    zone: ZoneArgument, dry_run: DryRunOption = False, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Write the records that announce the receiver to the zone's server.

    DSYNC, and at a target in the zone its addresses, KEY and SVCB. What changes is shown first; what is not ours stays.
    The receiver's key is made if there is none. A roll of the key goes on as far as it can.

    Exit code 3, with --dry-run: something would change.

    Example: zonecut parent publish parent.example. --dry-run
    """
    parent = Parent(session.load(config), zone)
    difference = session.run(_publish(parent, dry_run, as_json))
    if as_json:
        output.say_json(
            {
                "zone": parent.zone,
                "target": parent.target,
                "difference": difference.to_json(parent.announcement.codepoints),
                "written": bool(difference) and not dry_run,
            }
        )
    raise typer.Exit(Exit.DIFFERENT if dry_run and difference else Exit.DONE)


async def _publish(parent: Parent, dry_run: bool, as_json: bool) -> "RRsetDifference":
    target = parent.announcement.target
    if not dry_run:
        parent.identities.ensure({target})
    identity = parent.identities.directory.find(target)
    async with parent.announcer() as announcer:
        difference = announcer.missing(await announcer.held(), identity, time.time())
        if not as_json:
            if identity is None:
                output.say(f"; {parent.target} has no key yet: it would be made")
            parent.say_difference(difference)
        if not dry_run and identity is not None:
            difference = await announcer.publish(identity, time.time())
            await parent.record("parent.published", difference)
        return difference
