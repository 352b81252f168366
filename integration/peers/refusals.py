"""The zone and the children of the tests of refusals, and how a refusal is checked from all sides."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.zones import PARENT, ParentZone
from signer import Signer
from world import GENEROUS, World
from zonecut.store import KeyState

TARGET = f"updater.svc.{PARENT}"
_SPECIAL = f"""\
$ORIGIN {PARENT}
a.nest NS ns.elsewhere.test.
under.child3 NS ns.elsewhere.test.
{TARGET} A 11.9.9.9
"""
REFUSAL_ZONE = ParentZone(PARENT, text=ParentZone(PARENT, delegations=4).master_file + _SPECIAL)

CHILD = Signer.generate("child0")
OTHER = Signer.generate("child1")
ABOVE_HIDDEN = Signer.generate("child3")
KNOWN = Signer.generate("child0")
REVOKED = Signer.generate("child0")
STRANGER = Signer.generate("child0")
# Nobody could import keys of these names; what if they are in the store all the same?
BELOW = Signer.generate("sub.child1")
ABOVE = Signer.generate("nest")
GHOST = Signer.generate("ghost")
WILDCARD = Signer.generate("*")
DSYNC = Signer.generate("_dsync")
IN_DSYNC = Signer.generate("child0._dsync")
RECEIVER = Signer.generate(TARGET)
HOLDS_RECEIVER = Signer.generate("svc")
APEX = Signer.generate(PARENT)
ELSEWHERE = Signer.generate("child.elsewhere.test.")

MISPLACED = (BELOW, ABOVE, GHOST, WILDCARD, DSYNC, IN_DSYNC, RECEIVER, HOLDS_RECEIVER, APEX, ELSEWHERE)
KEYS = dict.fromkeys((CHILD, OTHER, ABOVE_HIDDEN, *MISPLACED), KeyState.TRUSTED) | {
    KNOWN: KeyState.KNOWN,
    REVOKED: KeyState.REVOKED,
}

Make = Callable[[bool], bytes]
"""Makes a message, with EDNS or without."""

NEEDS_EDNS = {"BADSIG", "BADKEY", "BADTIME"}


@dataclass(frozen=True)
class Refused:
    """A message and what it has to be answered with.

    extended_error is None where the RCODE says it all; rule is what the log and the audit trail name, reason what they
    and the extended error hold.
    """

    make: Make
    rcode: str
    extended_error: int | None
    rule: str
    reason: tuple[str, ...] = ()


@dataclass
class Refusals:
    """Sends what has to be refused, and looks that it was, and that nothing else happened."""

    world: World
    audited: list[tuple[str, int, str, str]] = field(default_factory=list)
    """Child, key tag, rule and RCODE of every refusal that the audit trail has to hold, in their order."""

    def of_child(self, refused: Refused, signer: Signer, *, edns: bool) -> None:
        """The refusal of a verified child: told, logged and audited."""
        self.audited.append((signer.text, signer.tag, refused.rule, refused.rcode))
        logged = len(self.world.zonecut.log_events())
        self._check(refused, refused.make(edns), edns=edns)
        events = self.world.zonecut.log_events()[logged:]
        assert [event["event"] for event in events] == ["change.refused"], events
        (event,) = events
        assert (event["child"], event["key"]) == (signer.text, signer.tag)
        assert (event["rule"], event["rcode"]) == (refused.rule, refused.rcode)
        assert (event["zone"], event["level"]) == (PARENT, "warning")
        assert event["source"].startswith("127.0.0.1#")
        for words in refused.reason:
            assert words in event["reason"]

    def of_stranger(self, refused: Refused, *, edns: bool) -> None:
        """The refusal of somebody who is nobody: told in few octets, and never audited."""
        logged = len(self.world.zonecut.log_events())
        wire = refused.make(edns)
        answered = self._check(refused, wire, edns=edns)
        assert answered <= len(wire) + 128
        events = self.world.zonecut.log_events()[logged:]
        # The first of its kind, or nothing: the others are counted.
        assert [event["event"] for event in events] in ([], ["request.refused"]), events
        for event in events:
            assert event["rule"] == refused.rule

    def _check(self, refused: Refused, wire: bytes, *, edns: bool) -> int:
        before = self.world.snapshot()
        answer = self.world.udp(wire) if edns else self.world.tcp(wire)
        assert answer.identity == int.from_bytes(wire[:2])
        if edns:
            assert answer.rcode == refused.rcode
            assert answer.edns == 0
            self._check_extended_error(refused, answer.extended_error)
        else:
            # RFC 8945 section 5.3: without EDNS there is no room for these
            assert answer.rcode == ("NOTAUTH" if refused.rcode in NEEDS_EDNS else refused.rcode)
            assert answer.edns == -1
        assert self.world.snapshot() == before
        return len(answer.wire)

    def _check_extended_error(self, refused: Refused, error: tuple[int, str] | None) -> None:
        if refused.extended_error is None:
            assert error is None
            return
        assert error is not None, "no extended error"
        assert error[0] == refused.extended_error
        for words in refused.reason:
            assert words in error[1]


def refusals_in(directory: Path, **options: Any) -> Iterator[Refusals]:
    """For a fixture: a world of its own with this zone and these keys."""
    keys = options.pop("keys", KEYS)
    # Many of them have no delegation, which is to be told by no more than the refusals.
    world = World(
        directory,
        REFUSAL_ZONE,
        keys=keys,
        parents=[{"target": TARGET, "policy": {"min_ns": 2}, "trust": {"gone_at_most": len(keys)}}],
        receiver={"limits": GENEROUS},
        **options,
    )
    with world:
        yield Refusals(world)
        world.server.verify()
