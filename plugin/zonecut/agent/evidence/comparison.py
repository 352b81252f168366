"""What the parent publishes held against what the child wants, and the UPDATE that follows. Pure.

No UPDATE holds a DS record unless the child said which DS there shall be.
"""

from dataclasses import dataclass, replace
from hashlib import sha256

from zonecut.agent.evidence.desired import Desired
from zonecut.agent.parent.parent_view import ParentView
from zonecut.agent.state import AgentState
from zonecut.agent.update_section import Style, prerequisites, replacements, update_records
from zonecut.protocol.delegation import Delegation, Difference, Ttls

SENT_TTLS = Ttls(3600, 3600, 3600)
"""The parent publishes with TTLs of its own."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`before` is what the parent is seen, or remembered, to hold, `after` what it shall; both without DS where the
    child does not say which. `missing`: not all that is seen is as it shall be."""

    view: ParentView
    before: Delegation
    after: Delegation
    missing: bool

    @property
    def difference(self) -> Difference:
        return Difference.between(self.before, self.after)

    @property
    def octets(self) -> str:
        """`after`, in hexadecimal: what the agent remembers."""
        return self.after.to_wire().hex()

    @property
    def digest(self) -> str:
        """Of `after`."""
        return digest_of(self.after)

    @property
    def is_contradictory(self) -> bool:
        """Whether the parent's servers show different things, so that no one of them tells what the parent holds."""
        return self.view.agreed is None and not self.view.is_hidden

    @property
    def differing(self) -> Difference:
        """The difference from all that any of the parent's servers shows."""
        records = {record for each in self.shown for record in each.records}
        return Difference.between(Delegation.of(self.after.child, records), self.after)

    def update(self, style: Style) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """The records of the UPDATE, and its prerequisites: void once the delegation is another one than was seen.

        Where the parent's servers do not agree, or do not show what there is, whole RRsets are sent without any: right
        whatever it is.
        """
        if self.view.agreed is None:
            differences = [Difference.between(each, self.after) for each in self.shown]
            return replacements(self.after, differences, SENT_TTLS), ()
        agreed = self.view.agreed
        return update_records(agreed, self.after, style, SENT_TTLS), prerequisites(agreed, self.after)

    @property
    def shown(self) -> list[Delegation]:
        """What the parent may hold: `before`, and what any of its servers shows."""
        if self.view.agreed is not None:
            return [self.view.agreed]
        return [self.before, *(each.delegation for each in self.view.answered if each.delegation is not None)]


def digest_of(delegation: Delegation) -> str:
    """By which it is known again."""
    return sha256(delegation.to_wire()).hexdigest()[:32]


def compare(aim: Desired, shown: ParentView, state: AgentState) -> Comparison:
    """Hold a view in which something is shown against what is wanted; `state` remembers what is not shown."""
    aim = aim.agreed(shown)
    view = aim.seen(shown)
    if view.is_hidden:
        # its servers answer from the child zone: of all but DS, what was accepted is all that can be known
        before = aim.beside(_remembered(state, view))
        after = aim.asked([before])
        # an acceptance for which nobody vouches settles nothing
        settled = digest_of(after) in (state.settled, state.sent if state.vouched else None)
        return Comparison(view, before, after, not settled or before.ds != after.ds)
    after = aim.asked([each.delegation for each in view.answered if each.delegation is not None])
    behind = view.missing(after)
    before = (behind[0].delegation if behind else view.held) or view.shown
    return Comparison(view, before, after, bool(behind))


def _remembered(state: AgentState, view: ParentView) -> Delegation:
    """What a parent holds whose servers show only DS: the rest is what it accepted last, or was seen to have."""
    known = Delegation(view.child) if state.last is None else Delegation.from_wire(bytes.fromhex(state.last))
    shown = [server.ds for server in view.servers if server.ds is not None]
    return replace(known, ds=shown[0]) if shown else known
