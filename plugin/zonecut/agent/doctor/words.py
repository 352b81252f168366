"""What a receiver says of the child's keys (draft-berra-dnsop-keystate)."""

from collections.abc import Iterator

from zonecut.agent.doctor.findings import Finding, Severity
from zonecut.agent.doctor.observation import ReceiverView
from zonecut.agent.doctor.reachability import KeyWord
from zonecut.agent.doctor.tags import Tag
from zonecut.protocol.codepoints import ReceiverState
from zonecut.protocol.foreigntext import quoted
from zonecut.protocol.keystate import state_text

UPLOADED = frozenset((ReceiverState.BOOTSTRAP_AUTO, ReceiverState.BOOTSTRAP_MANUAL))
"""States of a key that the receiver has, and does not trust yet."""
_FAILED = {
    ReceiverState.INVALID: "the key is broken for the parent: zonecut child keygen --new, then zonecut child bootstrap",
    ReceiverState.REFUSED: "the parent's operator has to say why",
    ReceiverState.VALIDATION_FAILED: (
        "see below which method would find the key; then zonecut child bootstrap uploads it again"
    ),
}


def word_fact(word: KeyWord) -> str:
    text = f": {quoted(word.told.extra_text)}" if word.told.extra_text else ""
    return f"{state_text(word.told.key_state)} ({word.told.key_state}){text}{'' if word.signed else ', unsigned'}"


def judge_words(view: ReceiverView) -> Iterator[Finding]:
    """What becomes of each key; a word that nobody vouches for does not count."""
    for word in view.words:
        if not word.signed:
            continue
        state, told = word.told.receiver_state, f"the receiver's word on key {word.tag}: {word_fact(word)}"
        if state is ReceiverState.TRUSTED:
            yield Finding(Tag.KEY_TRUSTED, Severity.OK, f"the receiver trusts key {word.tag} of the child")
        elif state in _FAILED:
            yield Finding(
                Tag.KEY_FAILED,
                Severity.WARNING,
                told,
                "changes that this key signs are refused",
                _FAILED[state],
            )
        elif state is ReceiverState.BOOTSTRAP_MANUAL:
            yield Finding(
                Tag.KEY_WAITS,
                Severity.WARNING,
                told,
                "an operator of the parent has to compare its fingerprint",
                "tell the parent's operator the fingerprint",
            )
        elif state is ReceiverState.BOOTSTRAP_AUTO:
            yield Finding(
                Tag.KEY_BEING_VALIDATED,
                Severity.NOTE,
                told,
                "it was uploaded, and the receiver finds out by itself whether it can be trusted",
                "see below whether one of its methods finds the key, and look again in some minutes",
            )
        elif state is ReceiverState.UNKNOWN:
            yield Finding(Tag.KEY_NOT_UPLOADED, Severity.NOTE, told, advice="zonecut child bootstrap uploads it")
        else:
            yield Finding(Tag.KEY_STATE, Severity.NOTE, told, advice="ask again later")
