"""`zonecut key show`: all about a child's keys."""

from zonecut.cli import session
from zonecut.cli.key.selection import matching
from zonecut.cli.options import ChildArgument, ConfigOption, FingerprintOption, JsonOption, KeyidOption
from zonecut.cli.terminal import output
from zonecut.protocol.codepoints import CodePoints
from zonecut.protocol.keys import algorithm_text
from zonecut.store import Bootstrap, StoredKey


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

    async def find() -> list[tuple[StoredKey, Bootstrap | None]]:
        async with session.open_store(loaded) as store:
            found = await matching(store, child, keyid, fingerprint)
            return [(stored, await store.bootstraps.get(stored.id)) for stored in found]

    found = session.run(find())
    if as_json:
        output.say_json(
            [
                {**stored.to_json(), "bootstrap": bootstrap.to_json() if bootstrap else None}
                for stored, bootstrap in found
            ]
        )
        return
    codepoints = loaded.configuration.codepoints.to_codepoints()
    for stored, bootstrap in found:
        say_key(stored, codepoints)
        if bootstrap is not None:
            say_bootstrap(bootstrap)


def say_bootstrap(bootstrap: Bootstrap) -> None:
    """Write how far a key is on its way to trust."""
    document = bootstrap.to_json()
    waits = "an operator" if bootstrap.manual else f"attempt {bootstrap.attempts + 1} at {document['next_at']}"
    if document["wanted_at"]:
        waits += f"; before that, a look at {document['wanted_at']}, since its key came again or its delegation changed"
    output.say_fields(
        "on its way to trust",
        {
            "uploaded": f"{document['started_at']} from {bootstrap.source or 'nowhere'}",
            "waits for": waits,
            "then goes": "every key of the child that is not validated with it" if bootstrap.replaces else "",
            "method": bootstrap.method,
            "looked at": document["looked_at"],
            "found last": bootstrap.reason,
            "given up": document["expires_at"],
        },
    )


def say_key(stored: StoredKey, codepoints: CodePoints) -> None:
    """Write all about a key for people."""
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
