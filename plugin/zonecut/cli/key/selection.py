"""Which of a child's keys a command is about."""

from zonecut.cli.choices import KeyStateChoice
from zonecut.cli.failures import Failure, UsageFailure
from zonecut.protocol import names
from zonecut.store import Store, StoredKey


async def matching(
    store: Store, child: bytes, keyid: int | None, fingerprint: str | None = None
) -> tuple[StoredKey, ...]:
    """The keys of a child with that tag and that beginning of the fingerprint. Raises Failure if there is none."""
    found = [
        stored
        for stored in await store.keys.find(child, keyid)
        if fingerprint is None or _digits(stored).startswith(fingerprint)
    ]
    if not found:
        which = "" if keyid is None else f" with key tag {keyid}"
        which += "" if fingerprint is None else f" whose fingerprint begins with {fingerprint}"
        raise Failure(f"{names.to_text(child)} has no key{which} here")
    return tuple(found)


async def the_one(store: Store, child: bytes, keyid: int | None, fingerprint: str | None) -> StoredKey:
    """The one key that is meant. Raises UsageFailure, listing the candidates, if it is not clear which.

    Where nothing is said of the key, those that were revoked are not meant: nothing can be done with them any more.
    """
    found = await matching(store, child, keyid, fingerprint)
    if keyid is None and fingerprint is None:
        found = tuple(stored for stored in found if stored.state.value != KeyStateChoice.REVOKED.value) or found
    if len(found) == 1:
        return found[0]
    tags = {stored.key.tag for stored in found}
    how = "--keyid" if len(tags) == len(found) else "--fingerprint"
    raise UsageFailure(
        f"{names.to_text(child)} has {len(found)} such keys; say with {how} which one is meant:",
        *(f"  --keyid {each.key.tag}  {each.key.fingerprint()}  {each.state.value}" for each in found),
    )


def _digits(stored: StoredKey) -> str:
    return stored.key.fingerprint().replace(" ", "")
