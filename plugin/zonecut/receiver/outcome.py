"""How an accepted request ended, or that it has not yet."""

from dataclasses import dataclass

from zonecut.protocol.codepoints import EdeCode, Rcode
from zonecut.protocol.errors import Refusal


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the child is told: NOERROR, or the RCODE, the extended error and the reason why not.

    `rule` names the rule that was broken, as in a Refusal; empty for NOERROR. `pending`: it is accepted, and it is not
    known yet whether the server has it. `held`: it waits for an operator.
    """

    rcode: Rcode = Rcode.NOERROR
    rule: str = ""
    reason: str = ""
    ede: int | None = None
    pending: bool = False
    held: bool = False

    @classmethod
    def of(cls, refusal: Refusal) -> "Outcome":
        """That of a request that is refused."""
        return cls(refusal.rcode, refusal.rule, refusal.reason, refusal.ede)

    @classmethod
    def waits_for_operator(cls, reason: str) -> "Outcome":
        """It is in the ledger, and goes to the server when an operator says so."""
        reason = f"accepted, and waits for an operator of the parent: {reason}"
        return cls(reason=reason, ede=EdeCode.OTHER, pending=True, held=True)

    @classmethod
    def unavailable(cls, rule: str, reason: str) -> "Outcome":
        """Backend or store cannot take it: the child may send it again."""
        return cls(Rcode.SERVFAIL, rule, reason, EdeCode.OTHER)


APPLIED = Outcome()
ACCEPTED = Outcome(pending=True)


class EndsEarly(Exception):
    """A request ends without a refusal: with SERVFAIL, or as accepted before."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome
