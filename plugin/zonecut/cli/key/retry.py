"""`zonecut key retry`: an operator has keys looked at again that are not trusted yet."""

import sys
import time
from dataclasses import dataclass, replace

from zonecut.cli import actor, session
from zonecut.cli.failures import Failure
from zonecut.cli.heard import is_served
from zonecut.cli.key.selection import matching
from zonecut.cli.options import (
    ChildArgument,
    ConfigOption,
    FingerprintOption,
    JsonOption,
    KeyidOption,
    ReasonOption,
)
from zonecut.cli.terminal import output
from zonecut.config import Loaded, ParentSection
from zonecut.protocol import names
from zonecut.receiver.keys.trust import upload_of
from zonecut.store import InvalidTransition, StoredKey

_TRUST = "an operator trusts it anew: zonecut key trust"
_HINTS = {
    "trusted": "there is nothing to do",
    "refused": "an operator can still trust it: zonecut key trust",
    "revoked": "the child needs a new key",
}
"""What to do about a key that no look makes trusted, by its state."""


def command(
    child: ChildArgument,
    keyid: KeyidOption = None,
    fingerprint: FingerprintOption = None,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at the keys of a child again that are not trusted yet.

    The methods of the parent zone run anew and at once, with all their attempts, whatever they found before: for keys
    on their way, for those that wait for an operator, and for those of which validation failed.

    A child has the same, but for the attempts, when it uploads its key again. What the look finds: zonecut key show.

    Example: zonecut key retry child.parent.example.
    """
    loaded = session.load(config)
    retried = session.run(_retry(loaded, child, keyid, fingerprint, reason))
    if as_json:
        output.say_json({"keys": [stored.to_json() for stored in retried.keys], "next": retried.text})
        return
    for stored in retried.keys:
        output.say(f"{names.to_text(child)} key tag {stored.key.tag}: {retried.text}")


@dataclass(frozen=True, slots=True)
class _Retried:
    keys: list[StoredKey]
    text: str
    """What happens next."""


async def _retry(loaded: Loaded, child: bytes, keyid: int | None, fingerprint: str | None, reason: str) -> _Retried:
    section = session.parent_of(loaded, child)
    zone = names.to_text(section.apex)
    if not loaded.methods[section.apex]:
        raise Failure(
            f"{zone}: `bootstrap` lists no method that looks at anything, so an operator decides: zonecut key trust"
        )
    operator, now = actor.operator(), time.time()
    retried, refused = [], []
    async with session.open_store(loaded) as store:
        for stored in await matching(store, child, keyid, fingerprint):
            upload = upload_of(stored.key, section.apex, operator, section.trust, now, replaces=False, manual=False)
            # what an operator wants is not bounded as what a stranger may fill the store with
            wanted = replace(
                upload, max_per_child=sys.maxsize, actor=operator, reason=reason or "an operator has it looked at again"
            )
            try:
                retried.append(await store.bootstraps.retry(wanted))
            except InvalidTransition as error:
                refused.append(f"{error.reason}; {_HINTS.get(stored.state.value, _TRUST)}")
        if not retried:
            raise Failure(*refused)
        return _Retried(retried, _what_happens(loaded, section, is_running=await is_served(store, section.apex)))


def _what_happens(loaded: Loaded, section: ParentSection, *, is_running: bool) -> str:
    methods = ", ".join(kind.name for kind, _ in loaded.methods[section.apex])
    when = "within a second" if is_running else "as soon as zonecut serve runs"
    ends = "it waits for an operator" if "manual" in section.bootstrap_names else "its validation has failed"
    return f"{methods} run {when}; after {section.trust.attempts} looks in vain {ends}"
