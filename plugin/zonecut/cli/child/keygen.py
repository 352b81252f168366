"""`zonecut child keygen`: make a SIG(0) key for a child zone."""

from typing import Annotated, Any

import typer

from zonecut.agent.keys.child_keys import ChildKeys, OwnKey
from zonecut.cli import session
from zonecut.cli.failures import Exit
from zonecut.cli.options import ChildZoneArgument, ConfigOption, DryRunOption, JsonOption
from zonecut.cli.terminal import output
from zonecut.config import ChildSection
from zonecut.protocol import names
from zonecut.protocol.codepoints import CodePoints
from zonecut.protocol.keys import algorithm_text

NewOption = Annotated[bool, typer.Option("--new", help="Make another key although there is one.")]


def command(
    zone: ChildZoneArgument,
    new: NewOption = False,
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key for a child zone, if there is none: with it changes of the delegation are signed.

    The key is kept beside our other keys, in BIND's two files; `nsupdate -k` takes them, too. Nothing is published and
    nothing sent. Exit code 3: --dry-run, and one would be made.

    Example: zonecut child keygen child.parent.example.
    """
    loaded = session.load(config)
    section = session.child_at(loaded, zone)
    configuration = loaded.configuration
    assert configuration.key_directory is not None  # the configuration sees to that
    codepoints = configuration.codepoints.to_codepoints()
    keys = ChildKeys(configuration.key_directory, zone, codepoints)
    before = keys.all()
    if dry_run:
        _say_plan(section, keys, before, new or not before, as_json)
        raise typer.Exit(Exit.DIFFERENT if new or not before else Exit.DONE)
    if new:
        keys.make(section.key.algorithm, section.key.ttl)
        found = keys.all()
    else:
        found = keys.ensure(section.key.algorithm, section.key.ttl)
    made = [own for own in found if own not in before]
    if as_json:
        output.say_json([_to_json(own, section, made=own in made) for own in found])
        return
    for own in made or found:
        _say(own, section, codepoints, made=own in made)
    output.say_block(_next(section, another=bool(before)) if made else "There is a key already; --new makes another.")


def _say_plan(section: ChildSection, keys: ChildKeys, found: tuple[OwnKey, ...], would: bool, as_json: bool) -> None:
    if as_json:
        output.say_json([_to_json(own, section, made=False) for own in found])
    elif would:
        another = "another" if found else "a"
        output.say(f"{section.zone}: would make {another} key, {section.key.algorithm}, in {keys.path}")
    else:
        output.say(f"{section.zone}: there is a key already: {found[-1].file}")


def _to_json(own: OwnKey, section: ChildSection, *, made: bool) -> dict[str, Any]:
    key = own.key
    return {
        "zone": names.to_text(key.owner),
        "made": made,
        "file": str(own.file),
        "tag": key.tag,
        "algorithm": key.algorithm,
        "fingerprint": own.fingerprint,
        "record": key.to_text(section.key.ttl),
    }


def _say(own: OwnKey, section: ChildSection, codepoints: CodePoints, *, made: bool) -> None:
    key = own.key
    fields: dict[str, object] = {
        "file": own.file,
        "key id": key.tag,
        "algorithm": algorithm_text(key.algorithm, codepoints),
        "fingerprint": own.fingerprint,
    }
    output.say_fields(f"{names.to_text(key.owner)}: {'a new key' if made else 'a key'}", fields)
    output.say(key.to_text(section.key.ttl))


def _next(section: ChildSection, *, another: bool) -> str:
    zone = section.zone
    if another:
        return (
            f"Next: zonecut child bootstrap {zone} has the parent trust this one instead of the others.\n"
            f"To change keys without a gap: zonecut child roll {zone}, which makes one itself."
        )
    if section.backend is None:
        return (
            f"Next: add this record to {zone} by hand, since no `backend` is configured;\n"
            f"zonecut child publish {zone} tells where else it belongs, and whether the world sees it;\n"
            f"then zonecut child bootstrap {zone}"
        )
    return f"Next: zonecut child publish {zone}\nand zonecut child bootstrap {zone}; zonecut serve does both."
