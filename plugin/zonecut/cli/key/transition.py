"""What `key trust` and `key revoke` have in common: one key goes into another state."""

from pathlib import Path

from zonecut.cli import actor, session
from zonecut.cli.choices import KeyStateChoice
from zonecut.cli.key.selection import the_one
from zonecut.cli.key.show import say_key
from zonecut.cli.terminal import output
from zonecut.config import Loaded
from zonecut.protocol import names
from zonecut.protocol.keys import check_usable
from zonecut.store import InvalidTransition, KeyState, StoredKey


def run(
    state: KeyStateChoice,
    child: bytes,
    keyid: int | None,
    fingerprint: str | None,
    reason: str,
    config: Path | None,
    as_json: bool,
) -> None:
    """Put the key that is meant into a state, by the operator's hand, and show it."""
    loaded = session.load(config)
    stored = session.run(_change(loaded, state, child, keyid, fingerprint, reason))
    if as_json:
        output.say_json(stored.to_json())
    else:
        say_key(stored, loaded.configuration.codepoints.to_codepoints())


async def _change(
    loaded: Loaded, state: KeyStateChoice, child: bytes, keyid: int | None, fingerprint: str | None, reason: str
) -> StoredKey:
    async with session.open_store(loaded) as store:
        stored = await the_one(store, child, keyid, fingerprint)
        if state is KeyStateChoice.TRUSTED:
            check_usable(stored.key, loaded.configuration.codepoints.to_codepoints())
            return await store.bootstraps.decide(stored.id, actor.operator(), reason)
        if state is KeyStateChoice.REFUSED and stored.state is KeyState.TRUSTED:
            raise InvalidTransition(
                f"key {stored.key.tag} of {names.to_text(child)} is trusted, and only what waits is rejected:"
                " `zonecut key revoke` ends the trust in it, for ever"
            )
        ended = await store.keys.set_state(stored.id, KeyState(state), actor.operator(), reason)
        if store.restored is not None and session.daemon_of(loaded) is None:
            # a daemon whose directory was moved away, and this put in its place, has another one open
            output.complain(
                f"{loaded.configuration.store.url} is a copy that no zonecut serve has, and waits for zonecut store "
                "accept: this counts in it alone; where zonecut serve runs, it has another one"
            )
        return ended
