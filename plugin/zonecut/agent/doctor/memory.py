"""Where what the parent announces now is not what the child's agent remembers of it (PROTOCOL section 2)."""

from collections.abc import Iterator

from zonecut.agent.doctor.findings import Finding, Severity, listed
from zonecut.agent.doctor.observation import Examination, ReceiverView, keys_of
from zonecut.agent.doctor.tags import Tag
from zonecut.protocol import names
from zonecut.resolve import Verdict

_IT_STAYS = "no agent is led away by what nobody vouches for: it goes on with what it remembers"
_ASK = (
    "ask the parent's operator whether that is meant; where it is, have it announced with DNSSEC, or pin the new key"
    " (`parent.pins`)"
)


def judge_memory(seen: Examination) -> Iterator[Finding]:
    """The receivers that are announced, held against those that are remembered."""
    kept, discovery = seen.kept, seen.discovery
    if kept.reason:
        yield Finding(
            Tag.AGENT_UNREAD,
            Severity.NOTE,
            f"what the child's agent keeps could not be read: {kept.reason}",
            "what is announced was not held against what it remembers",
            "run this as the user of zonecut serve",
        )
    before = {record.to_text(seen.codepoints) for record in kept.learned.records}
    now = {record.to_text(seen.codepoints) for record in discovery.updates}
    if not before or before == now or not discovery.is_known:
        return
    told = f"the parent announces {listed(sorted(now)) if now else 'no receiver of UPDATEs'}"
    is_secure = discovery.verdict is Verdict.SECURE
    yield Finding(
        Tag.RECEIVERS_CHANGED,
        Severity.NOTE if is_secure else Severity.WARNING,
        f"{told}, and the child's agent remembers {listed(sorted(before))}",
        "DNSSEC vouches for what is announced: the agent goes by it from its next look on" if is_secure else _IT_STAYS,
        "" if is_secure else _ASK,
    )


def judge_remembered_keys(seen: Examination, view: ReceiverView) -> Iterator[Finding]:
    """The KEY of a receiver, held against those that are remembered of it."""
    target = view.record.target
    before = {key.rdata: key.tag for key in seen.kept.learned.keys if key.owner == target}
    now = {key.rdata: key.tag for key in keys_of(target, view.key.rdatas)}
    if not before or before.keys() == now.keys() or view.key.verdict not in (Verdict.SECURE, Verdict.INSECURE):
        return
    is_secure = view.key.verdict is Verdict.SECURE and bool(now)
    yield Finding(
        Tag.RECEIVER_KEY_CHANGED,
        Severity.NOTE if is_secure else Severity.WARNING,
        f"{names.to_text(target)} publishes KEY {listed(sorted(now.values()))}, and the child's agent"
        f" remembers KEY {listed(sorted(before.values()))}",
        "DNSSEC vouches for what is published: the agent goes by it from its next look on" if is_secure else _IT_STAYS,
        "" if is_secure else _ASK,
    )
