"""`zonecut store check`: whether a store is whole, and the one that was here; what a restore would do."""

import typer

from zonecut.cli import session
from zonecut.cli.failures import Exit, Failure
from zonecut.cli.options import ConfigOption, JsonOption
from zonecut.cli.store.findings import Findings, Waiting, find
from zonecut.cli.terminal import output
from zonecut.config import Loaded
from zonecut.store import KeyState, timestamps

_WRITTEN = "written, unless the server holds something else by then"


def command(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Say whether the store is whole, whether it was restored from a backup, and what becomes of what waits in it.

    A store that ends before the time until which it was used was restored: nobody knows which changes were made since,
    nor which keys were revoked. Until `zonecut store accept`, `zonecut serve` accepts nothing.

    Exit code 3: the store was restored; 1: it is damaged.

    Example: zonecut store check
    """
    loaded = session.load(config)
    url = loaded.configuration.store.url
    if not session.has_store(loaded):
        raise Failure(f"store url {url!r}: there is no store yet; the first start makes one")
    findings = session.run(_check(loaded))
    if as_json:
        output.say_json(_document(url, findings))
    else:
        _say(url, findings)
    if findings.damage:
        raise typer.Exit(Exit.FAILED)
    raise typer.Exit(Exit.DIFFERENT if findings.restored else Exit.DONE)


async def _check(loaded: Loaded) -> Findings:
    async with session.open_store(loaded) as store:
        return await find(loaded, store)


def _outcome(findings: Findings, waiting: Waiting) -> str:
    """What becomes of a change that waits: when the store is accepted, or else when `zonecut serve` starts."""
    if findings.restored:
        return waiting.once_accepted.value
    return "applied" if waiting.is_there else _WRITTEN


def _document(url: str, findings: Findings) -> dict[str, object]:
    restored = findings.restored
    return {
        "url": url,
        "damage": list(findings.damage),
        "restored": restored.to_json() if restored else None,
        "reason": restored.reason if restored else None,
        "signed_since": timestamps.to_optional_text(findings.floor),
        "keys": {state.value: count for state, count in findings.keys.items()},
        "waiting": [each.to_json(_outcome(findings, each)) for each in findings.waiting],
        "held": [change.to_json() for change in findings.held],
    }


def _say(url: str, findings: Findings) -> None:
    restored, trusted = findings.restored, findings.keys.get(KeyState.TRUSTED, 0)
    output.say_fields(
        url,
        {
            "database": "damaged: " + "; ".join(findings.damage) if findings.damage else "whole",
            "restored": restored.reason if restored else "no: all that was recorded is there",
            "signatures": f"count from {timestamps.to_text(findings.floor)} on" if findings.floor else None,
            "trusted keys": trusted,
            "waiting changes": len(findings.waiting),
            "held changes": len(findings.held),
        },
    )
    if restored:
        output.say("")
        output.say(
            f"{trusted} keys were trusted here, and will be again; which of them were revoked, rejected or rolled "
            "since is not known to this store: zonecut key list shows them; those of which you know it are for key "
            "revoke or key reject, before zonecut store accept"
        )
    if restored and findings.held:
        numbers = ", ".join(str(change.id) for change in findings.held)
        output.say("")
        output.say(
            f"changes that waited for an operator here may have been decided since, or asked for otherwise: {numbers}; "
            "after zonecut store accept they are for change show, and change approve or change reject"
        )
    if findings.waiting:
        output.say("")
    with output.Table("CHANGE", "ACCEPTED", "ZONE", "CHILD", "THE SERVER HOLDS", "IT WILL BE") as table:
        for each in findings.waiting:
            change = each.to_json(_outcome(findings, each))
            holds = f"{each.held.value}: {each.why}" if each.why else each.held.value
            table.add(change["id"], change["accepted_at"], change["zone"], change["child"], holds, change["outcome"])
