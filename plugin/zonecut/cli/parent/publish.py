"""`zonecut parent publish`: write the records that announce the receiver."""

import time
from typing import Annotated

import typer

from zonecut.cli import session
from zonecut.cli.failures import Exit
from zonecut.cli.options import ConfigOption, DryRunOption, JsonOption, ZoneArgument
from zonecut.cli.parent.plan import Parent
from zonecut.cli.terminal import output
from zonecut.protocol.rrset import RRsetDifference


def command(
    zone: ZoneArgument,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="The receiver's key is lost: have another one take its place.")
    ] = False,
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the records that announce the receiver to the zone's server.

    DSYNC, and at a target in the zone its addresses, KEY and SVCB. What changes is shown first; what is not ours stays.
    The receiver's key is made if there never was one. Of one that is lost this has to be said (--new-key): what is in
    the key directory instead is taken then, or a new one made. A roll of the key goes on as far as it can.

    Exit code 3, with --dry-run: something would change.

    Example: zonecut parent publish parent.example. --dry-run
    """
    parent = Parent(session.load(config), zone)
    difference = session.run(_publish(parent, new_key, dry_run, as_json))
    if as_json:
        output.say_json(
            {
                "zone": parent.zone,
                "target": parent.target,
                "difference": difference.to_json(parent.announcement.codepoints),
                "written": bool(difference) and not dry_run,
            }
        )
    is_different = difference or parent.identities.directory.find(parent.announcement.target) is None
    raise typer.Exit(Exit.DIFFERENT if dry_run and is_different else Exit.DONE)


async def _publish(parent: Parent, new_key: bool, dry_run: bool, as_json: bool) -> RRsetDifference:
    target = parent.announcement.target
    if not dry_run:
        await parent.ensure_key(replaces=new_key)
    elif not new_key:
        await parent.check_key()
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
