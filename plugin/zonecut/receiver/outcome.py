"""How an accepted request ended, or that it has not yet."""

from dataclasses import dataclass

from zonecut.protocol.codepoints import EdeCode, Rcode
from zonecut.protocol.errors import Refusal
from zonecut.protocol.foreigntext import clip

_TOLD = {
    "backend": "the parent's server cannot be read or written now",
    "store": "the receiver cannot look up or record anything now",
    "internal": "internal error",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended: NOERROR, or the RCODE, the extended error and why not.

    `rule` names the rule that was broken, as in a Refusal; empty for NOERROR. `reason` is for the log, the audit trail
    and the ledger, `told` for the child: what is its own matter, and no path, address or URL of the parent's side.
    Where that is empty, the child is told the rule's name. `pending`: it is accepted, and it is not known yet whether
    the server has it. `held`: it waits for an operator.
    """

    rcode: Rcode = Rcode.NOERROR
    rule: str = ""
    reason: str = ""
    ede: int | None = None
    told: str = ""
    pending: bool = False
    held: bool = False

    @classmethod
    def waits_for_operator(cls, reason: str) -> "Outcome":
        """It is in the ledger, and goes to the server when an operator says so."""
        reason = f"accepted, and waits for an operator of the parent: {reason}"
        return cls(reason=reason, ede=EdeCode.OTHER, told=reason, pending=True, held=True)

    @classmethod
    def of(cls, refusal: Refusal) -> "Outcome":
        """A request that was refused."""
        return cls(refusal.rcode, refusal.rule, refusal.reason, refusal.ede, refusal.told)

    @classmethod
    def unavailable(cls, rule: str, reason: str, *, told: str = "") -> "Outcome":
        """Backend or store cannot take it: the child may send it again."""
        return cls(Rcode.SERVFAIL, rule, clip(reason), EdeCode.OTHER, clip(told or _TOLD.get(rule, "")))

    @property
    def refusal(self) -> Refusal:
        """The same as a Refusal."""
        return Refusal(self.rule, self.reason, self.rcode, self.ede, told=self.told or self.rule)


APPLIED = Outcome()
ACCEPTED = Outcome(pending=True)


class EndsEarly(Exception):
    """A request ends without a refusal: with SERVFAIL, or as accepted before."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome
