"""Fuzz the way from an UPDATE to a delegation: any message is a request, a refusal or malformed."""

from pathlib import Path

from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.envelope import walk
from zonecut.protocol.errors import MalformedMessage, Refusal
from zonecut.protocol.update import DelegationChange, check_prerequisites, read_request, zone_of
from zonecut.receiver.change.policy import Policy, Rules, check, without_orphans

VECTORS = Path(__file__).parent.parent / "vectors"
CHILD = names.from_text("child.sig0.test.")
RULES = Rules.of(names.from_text("sig0.test."), names.from_text("updater.sig0.test."), Policy())
BEFORE = Delegation(CHILD, (names.from_text("ns.example."),))


def one_input(data: bytes) -> None:
    try:
        envelope = walk(data)
        request = read_request(envelope, zone_of(envelope), CHILD, b"")
        if not isinstance(request, DelegationChange):
            return
        for operation in request.operations:
            assert operation.to_text()
        check_prerequisites(request.prerequisites, BEFORE)
        after = without_orphans(BEFORE, request.apply(BEFORE))
        assert Delegation.from_wire(after.to_wire()) == after
        check(RULES, BEFORE, after)
        assert after.ns
    except (MalformedMessage, Refusal):
        return
