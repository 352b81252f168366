"""The tour's last step: what has changed in the parent zone, and who did what."""

from zonecut.demo.cast import Cast
from zonecut.demo.narrator import difference
from zonecut.demo.servers.authority import ALPHA, BETA, PARENT, of_child

_ANNOUNCED = (f"_dsync.{PARENT}", f"updater.{PARENT}")


def compare(cast: Cast) -> None:
    """The zone before and after, what the server answers, and the audit trail."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "What is left of all this",
        """The announcement aside, two requests of all those have changed the zone. The audit trail has each decision
        about a key, and about the changes of a child that proved who it is. Forgeries are not in it: those are counted
        and logged in samples, so that nobody fills the disk by being refused.""",
        "RFC 2136 section 3.6 (the serial)",
    )
    after = stage.records()
    tell.show("The zone before (-) and after (+)", difference(cast.zone_before, after))
    trail = stage.receiver.run("audit")
    tell.show("The audit trail, the newest first", trail.output, trail.line)

    changed = sorted(line for line in set(cast.zone_before) ^ set(after) if " SOA " not in line)
    meant = [line for name in (ALPHA, BETA, *_ANNOUNCED) for line in of_child(changed, name)]
    tell.check("nothing but the SOA, the announcement, alpha and beta has changed", changed, sorted(meant))
    rows = trail.output.splitlines()
    # an event's name, the child and who did it; AT and KEY stand between them
    applied = [row.split()[2] for row in reversed(rows) if " change.applied " in row]
    tell.check("one change of each child was applied", [ALPHA, BETA], applied)
    refusals = [row.split() for row in rows if " change.refused " in row]
    found = [(words[2], words[6]) for words in reversed(refusals)]
    tell.check(
        "it has each refusal of a change that a child signed, with its rule, and none of a forgery", cast.refused, found
    )
    steps = [
        (words[1], words[2], words[4].partition(":")[0]) for row in rows if " key." in row and (words := row.split())
    ]
    expected = [
        ("key.revoked", BETA, "operator"),
        ("key.trusted", BETA, "operator"),
        ("key.added", BETA, BETA),
        ("key.trusted", ALPHA, "zonecut"),
        ("key.added", ALPHA, ALPHA),
    ]
    tell.check("it tells the life of each key: who brought it, who trusted it, who ended it", expected, steps)
