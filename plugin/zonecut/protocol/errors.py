"""What zonecut says no with: every error carries what the other side should be told."""

from zonecut.protocol.codepoints import EdeCode, Rcode
from zonecut.protocol.foreigntext import clip


class MalformedMessage(Exception):
    """The bytes are no DNS message that can be walked; `reason` says where they stop making sense.

    `rcode` is what RFC 2136 section 3 wants to be answered: FORMERR, or NOTIMP for what is well-formed but not ours.
    """

    rcode = Rcode.FORMERR

    def __init__(self, reason: str) -> None:
        self.reason = clip(reason)
        super().__init__(self.reason)


class Refusal(Exception):
    """A request that is understood and refused.

    `rule` is the stable name of the rule that was broken (as in logs, the audit trail and the policy's settings),
    `reason` the sentence for people, which names the record, and `told` the one for whoever asked: the same, unless the
    reason holds more than he wrote himself and anybody may know. `ede` is the INFO-CODE of RFC 8914, or None for an
    RCODE that says it all.
    """

    def __init__(
        self,
        rule: str,
        reason: str,
        rcode: Rcode = Rcode.REFUSED,
        ede: int | None = EdeCode.OTHER,
        *,
        told: str | None = None,
    ) -> None:
        self.rule = rule
        self.reason = clip(reason)
        super().__init__(f"{rule}: {self.reason}")
        self.told = self.reason if told is None else clip(told)
        self.rcode = rcode
        self.ede = ede
