"""`zonecut parent withdraw`: remove the records that announce the receiver."""

import typer

from zonecut.cli import session
from zonecut.cli.failures import Exit
from zonecut.cli.options import ConfigOption, DryRunOption, JsonOption, ZoneArgument
from zonecut.cli.parent.plan import Parent
from zonecut.cli.terminal import output
from zonecut.protocol.rrset import RRsetDifference


def command(
    zone: ZoneArgument, dry_run: DryRunOption = False, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Remove the records that announce the receiver, and nothing else, from the zone's server.

    What changes is shown first. The receiver's key stays where it is kept.

    Exit code 3, with --dry-run: something would change.

    Example: zonecut parent withdraw parent.example. --dry-run
    """
    parent = Parent(session.load(config), zone)
    difference = session.run(_withdraw(parent, dry_run, as_json))
    if as_json:
        output.say_json(
            {
                "zone": parent.zone,
                "target": parent.target,
                "difference": difference.to_json(parent.announcement.codepoints),
                "written": bool(difference) and not dry_run,
            }
        )
    if parent.section.publish and not dry_run:
        output.complain(f"{parent.zone}: `publish` is true: a running zonecut will publish it all again")
    raise typer.Exit(Exit.DIFFERENT if dry_run and difference else Exit.DONE)


async def _withdraw(parent: Parent, dry_run: bool, as_json: bool) -> RRsetDifference:
    identity = parent.identities.directory.find(parent.announcement.target)
    async with parent.announcer() as announcer:
        difference = announcer.present(await announcer.held(), identity)
        if not as_json:
            parent.say_difference(difference)
        if not dry_run:
            difference = await announcer.withdraw(identity)
            await parent.record("parent.withdrawn", difference)
        return difference
