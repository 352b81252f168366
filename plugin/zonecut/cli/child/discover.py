"""`zonecut child discover`: where a child zone's changes would go, and how that is found out."""

import typer

from zonecut.agent.settings import ParentSettings
from zonecut.cli import session
from zonecut.cli.child.parent import Seen, party_fields, run_look
from zonecut.cli.failures import Exit
from zonecut.cli.options import ChildZoneArgument, ConfigOption, JsonOption
from zonecut.cli.terminal import output
from zonecut.config import Loaded
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType


def command(zone: ChildZoneArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Look for the UPDATE Receiver of a child zone's parent, and show each step (RFC 9859 section 4.1).

    It shows each query for DSYNC records and what it taught, the receiver's addresses and its KEY with what that is
    worth, and how it comes to trust a child's key. The zone need not be one of `children`.

    Exit code 1: there is nobody who takes UPDATEs, or nothing that he says could be believed.

    Example: zonecut child discover child.parent.example.
    """
    loaded = session.load(config)
    settings = _settings(loaded, zone)
    seen = run_look(loaded, zone, settings)
    if as_json:
        _say_json(seen, settings)
    else:
        _say(seen, settings, zone)
    found = any(party.believable(settings) for party in seen.parties)
    raise typer.Exit(Exit.DONE if found else Exit.FAILED)


def _settings(loaded: Loaded, zone: bytes) -> ParentSettings:
    sections = {section.apex: section for section in loaded.configuration.children}
    return sections[zone].parent if zone in sections else ParentSettings()


def _say_json(seen: Seen, settings: ParentSettings) -> None:
    output.say_json(
        {
            "discovery": seen.discovery.to_json(),
            "receivers": [{**party.to_json(), "believable": party.believable(settings)} for party in seen.parties],
            "reason": seen.reason,
        }
    )


def _say(seen: Seen, settings: ParentSettings, zone: bytes) -> None:
    discovery = seen.discovery
    for step in discovery.steps:
        output.say(f"{names.to_text(step.name)} {RRType(step.answer.rtype).text}")
        output.say(f"  {step.learned}")
        output.say(f"  ; {step.answer.reason}")
    if settings.receiver is not None:
        output.say(f"; whatever is announced: the configuration of {names.to_text(zone)} names the receiver")
    if discovery.is_remembered:
        output.say(f"; {discovery.reason}")
    for party in seen.parties:
        output.say("")
        output.say_fields(names.to_text(party.target), party_fields(party, settings, discovery.codepoints))
    for rrtype in (RRType.CDS, RRType.CSYNC):
        for record in discovery.notifies(rrtype):
            output.say(f"; {names.to_text(record.target)} port {record.port} is notified of changes of {rrtype.text}")
    if seen.reason is not None:
        output.say(f"; nobody to send UPDATEs to: {seen.reason}")
