"""`zonecut parent roll`: give the receiver a new key."""

import time

import typer

from zonecut.cli import session
from zonecut.cli.failures import Exit, Failure, UsageFailure
from zonecut.cli.options import ConfigOption, DryRunOption, JsonOption, ZoneArgument
from zonecut.cli.parent.plan import Parent
from zonecut.cli.terminal import output
from zonecut.protocol.rrset import RRsetDifference
from zonecut.receiver.announce.identity import Identity
from zonecut.receiver.announce.key_directory import RollUnderWay


def command(
    zone: ZoneArgument, dry_run: DryRunOption = False, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Give the receiver a new key, and begin to publish it beside the old one.

    A running zonecut does the rest: it signs with the new key when the TTL of the KEY records has passed, and takes the
    old one out of the zone after another. `parent status` says how far it is; without a daemon, each `parent publish`
    goes one step on.

    Exit code 1: a roll is under way. Exit code 3, with --dry-run: none is.

    Example: zonecut parent roll parent.example.
    """
    parent = Parent(session.load(config), zone)
    if not parent.announcement.holds_target:
        raise UsageFailure(
            f"{parent.target} lies outside {parent.zone}: roll its key with the zone in which it lies, if that is ours"
        )
    identity, difference = session.run(_roll(parent, dry_run))
    if as_json:
        output.say_json(
            {
                "zone": parent.zone,
                "target": parent.target,
                "key": None if identity is None else identity.to_json(time.time()),
                "difference": None if difference is None else difference.to_json(parent.announcement.codepoints),
            }
        )
    elif identity is None or identity.coming is None:
        output.say(f"; {parent.target}: a new key would be made and published")
    else:
        key = identity.coming.key
        output.say(f"; {parent.target}: the new key is {key.tag}  {key.fingerprint()}")
        if difference is not None:
            parent.say_difference(difference)
    raise typer.Exit(Exit.DIFFERENT if dry_run else Exit.DONE)


async def _roll(parent: Parent, dry_run: bool) -> tuple[Identity | None, RRsetDifference | None]:
    target = parent.announcement.target
    directory = parent.identities.directory
    identity = directory.find(target)
    if identity is not None and identity.coming is not None:
        phase = identity.phase(time.time()).value
        raise Failure(f"{parent.target}: a roll is under way ({phase}): see zonecut parent status {parent.zone}")
    if dry_run:
        await parent.check_key()
        return identity, None
    await parent.ensure_key()

    async with parent.announcer() as announcer:
        # what caches hold of the old RRset, they hold for its TTL, whatever the configuration says now
        ttl = max(parent.section.publication.ttl, announcer.key_ttl(await announcer.held()))
        try:
            identity = parent.identities.begin_roll(target, ttl)
        except RollUnderWay as error:
            raise Failure(f"{parent.target}: {error}") from error
        difference = await announcer.publish(identity, time.time(), keys_only=True)
        await parent.record("parent.rolled", difference)
        return directory.find(target), difference
