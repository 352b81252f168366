"""What a child's request makes of its delegation, and whether it may: the same for the receiver and for `explain`."""

from zonecut.plugin import Change, Reading
from zonecut.protocol import names
from zonecut.protocol.codepoints import EdeCode
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.errors import Refusal
from zonecut.protocol.update import DelegationChange, check_prerequisites
from zonecut.receiver.change import policy

ABOUT_HOSTS = frozenset(("glue-of-ns-only", "glue-for-ns"))
"""The rules that who else names a host has a say in."""


def check_place(child: bytes, reading: Reading) -> None:
    """Raise Refusal unless a child is delegated, and not below another delegation."""
    policy.check_place(child, reading.enclosing)
    if not reading.delegation.is_delegated:
        raise Refusal("child-delegated", f"{names.to_text(child)} is not delegated", ede=EdeCode.PROHIBITED)


def judge(rules: policy.Rules, request: DelegationChange, reading: Reading) -> tuple[Delegation, tuple[str, ...]]:
    """The delegation that results, and its shortcomings, none of them worse than it was.

    Raises Refusal for the first thing that is in its way.

    The order is RFC 2136 section 3: prerequisites, then the update section as a whole; then policy.
    """
    before = reading.delegation
    policy.check_child(rules, request.child)
    check_place(request.child, reading)
    check_prerequisites(request.prerequisites, before)
    after = policy.without_orphans(before, request.apply(before), rules.shared)
    return after, policy.check(rules, before, after)


def needs_a_look(change: Change) -> bool:
    """Whether a change is not to be accepted on a belief, though the write is conditional on that.

    Where the server is so already, as somebody else made it, a write may count as done: who asks for what the operator
    did a moment ago, the deletion of all DS or a move to the name servers of another holder, has not done it himself.
    """
    before, after = change.before, change.after
    return after == before or (bool(before.ds) and not after.ds) or set(before.ns).isdisjoint(after.ns)
