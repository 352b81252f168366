"""What a child's request makes of its delegation, and whether it may: the same for the receiver and for `explain`."""

from zonecut.plugin import Reading
from zonecut.protocol import names
from zonecut.protocol.codepoints import EdeCode, Rcode
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.errors import Refusal
from zonecut.protocol.sig0 import later
from zonecut.protocol.update import DelegationChange, check_prerequisites
from zonecut.receiver import policy


def check_order(newest: int | None, inception: int, now: int) -> None:
    """Raise Refusal for a message that was signed before the newest change accepted from its child.

    Both are inceptions, in seconds modulo 2**32; `newest` is None when there is no such change. `now` in seconds.
    """
    if newest is not None and later(newest, inception):
        raise Refusal(
            "signature-order",
            f"stale: signed at {inception}, and a change signed at {newest} was accepted since; it is {now} here",
            Rcode.BADTIME,
            EdeCode.OTHER,
        )


def check_place(child: bytes, reading: Reading) -> None:
    """Raise Refusal unless a child is delegated, and not below another delegation."""
    policy.check_place(child, reading.enclosing)
    if not reading.delegation.is_delegated:
        raise Refusal("child-delegated", f"{names.to_text(child)} is not delegated", ede=EdeCode.PROHIBITED)


def judge(rules: policy.Rules, request: DelegationChange, reading: Reading) -> Delegation:
    """The delegation that results. Raises Refusal for the first thing that is in its way.

    The order is RFC 2136 section 3: prerequisites, then the update section as a whole; then policy.
    """
    before = reading.delegation
    check_place(request.child, reading)
    check_prerequisites(request.prerequisites, before)
    after = policy.without_orphans(before, request.apply(before))
    policy.check(rules, before, after)
    return after
