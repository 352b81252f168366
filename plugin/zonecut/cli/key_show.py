"""`zonecut key show`: all about a child's keys."""

from typing import TYPE_CHECKING

from zonecut.cli import output, session
from zonecut.cli.key_selection import matching
from zonecut.cli.options import ChildArgument, ConfigOption, FingerprintOption, JsonOption, KeyidOption

if TYPE_CHECKING:
    from zonecut.protocol.codepoints import CodePoints
    from zonecut.store import StoredKey


def command(
    child: ChildArgument,
    keyid: KeyidOption = None,
    fingerprint: FingerprintOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the keys of a child.

    Fingerprint, state, and how they came to be what they are.

    Compare the fingerprint with what the child's operator reads to you before you trust a key.

    Example: zonecut key show child.parent.example. --keyid 46020
    """
    loaded = session.load(config)

    async def find() -> tuple["StoredKey", ...]:
        async with session.open_store(loaded) as store:
            return await matching(store, child, keyid, fingerprint)

    found = session.run(find())
    if as_json:
        output.say_json([stored.to_json() for stored in found])
        return
    codepoints = loaded.configuration.codepoints.to_codepoints()
    for stored in found:
        say_key(stored, codepoints)


def say_key(stored: "StoredKey", codepoints: "CodePoints") -> None:
    """Write all about a key for people."""
    from zonecut.protocol.keys import algorithm_text

    document = stored.to_json()
    output.say_fields(
        f"{document['owner']} key tag {stored.key.tag}",
        {
            "fingerprint": document["fingerprint"],
            "algorithm": f"{algorithm_text(stored.key.algorithm, codepoints)} ({stored.key.algorithm})",
            "state": stored.state.value,
            "method": stored.method,
            "added": document["created_at"],
            "changed": document["changed_at"],
            "by": stored.actor,
            "reason": stored.reason,
            "record": document["key"],
        },
    )
