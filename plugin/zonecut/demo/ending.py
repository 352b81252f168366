"""The tour's last step: what has changed in the parent zone, and who did what."""

import difflib

from zonecut.demo.authority import ALPHA, BETA, PARENT, of_child, without_ttls
from zonecut.demo.cast import Cast

_ANNOUNCED = (f"_dsync.{PARENT}", f"updater.{PARENT}")


def compare(cast: Cast) -> None:
    """The zone before and after, what the server answers, and the audit trail."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "What is left of all this",
        """The announcement aside, one request of all those has changed the zone. The audit trail has each decision
        about a key, and about the changes of a child that proved who it is. Forgeries are not in it: those are counted
        and logged in samples, so that nobody fills the disk by being refused.""",
        "RFC 2136 section 3.6 (the serial)",
    )
    after = stage.records()
    tell.show("The zone before (-) and after (+)", _difference(cast.zone_before, after))
    asked = stage.authority.asked(ALPHA)
    for exhibit in asked:
        tell.show(exhibit.title, exhibit.output, exhibit.command)
    trail = stage.zonecut("audit")
    tell.show("The audit trail, the newest first", trail.output, trail.line)

    changed = sorted(line for line in set(cast.zone_before) ^ set(after) if " SOA " not in line)
    meant = [line for name in (ALPHA, *_ANNOUNCED) for line in of_child(changed, name)]
    tell.check("nothing but the SOA, the announcement and alpha has changed", changed, sorted(meant))
    if asked:
        held = set(without_ttls(of_child(after, ALPHA)))
        told = {line for exhibit in asked for line in without_ttls(exhibit.output.splitlines())}
        tell.check(f"that is what {stage.authority.name} answers", sorted(held), sorted(told))
    rows = trail.output.splitlines()
    refusals = [row for row in rows if " change.refused " in row]
    found = [rule for rule in cast.refused if any(f" {rule} " in row for row in refusals)]
    tell.check("the trail has each refusal of alpha's own changes, with its rule", cast.refused, found)
    tell.check("and none of a forgery", len(cast.refused), len(refusals))
    # an event's name, the child and who did it; AT and KEY stand between them
    steps = [
        (words[1], words[2], words[4].partition(":")[0]) for row in rows if " key." in row and (words := row.split())
    ]
    expected = [
        ("key.revoked", ALPHA, "operator"),
        ("key.added", BETA, "operator"),
        ("key.trusted", ALPHA, "zonecut"),
        ("key.added", ALPHA, ALPHA),
    ]
    tell.check("it tells the life of each key: who brought it, who trusted it, who ended it", expected, steps)


def _difference(before: list[str], after: list[str]) -> str:
    lines = difflib.unified_diff(before, after, n=0, lineterm="")
    return "\n".join(f"{line[0]} {line[1:]}" for line in lines if not line.startswith(("---", "+++", "@@")))
