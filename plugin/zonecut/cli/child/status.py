"""`zonecut child status`: where the agents of the child zones stand."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import typer
from sqlalchemy import make_url

from zonecut.agent import damage
from zonecut.agent.keys.child_keys import ChildKeys
from zonecut.agent.outlook import Doubt, Outlook, outlook
from zonecut.agent.state import AgentState, DamagedState, Phase
from zonecut.cli import session
from zonecut.cli.failures import Exit
from zonecut.cli.options import ConfigOption, JsonOption, OptionalChildZoneArgument
from zonecut.cli.terminal import output
from zonecut.config import ChildSection, Loaded
from zonecut.protocol import names
from zonecut.protocol.keys import UnusableKey
from zonecut.store import Store, StoredAgent, StoreUnavailable
from zonecut.store.timestamps import to_text

_NOBODY = "no agent has looked after this zone yet"
_BEGIN = "zonecut serve, or zonecut child bootstrap"


class Seen(NamedTuple):
    """Where an agent was seen last, and what that says of its zone now."""

    state: AgentState
    outlook: Outlook


def command(zone: OptionalChildZoneArgument = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show where the agent of a child zone stands, and why; without ZONE a line for each.

    A zone that was in sync is `failing` where the last attempt failed (its server, the resolver, the parent or the
    receiver is away, the private key cannot be read, a roll is refused), and `stale` without success for two periods of
    `check`, as where no daemon runs. It is `failing`, too, where the store cannot be written (a full disk, a lock that
    somebody holds): nothing is sent then. It is `held`, with the reason, where it is bogus.

    Exit code 0: all are in sync. 3: a zone is not in sync with its parent. 1: whether one is, is not known.

    Example: zonecut child status child.parent.example.
    """
    loaded = session.load(config)
    sections = loaded.configuration.children if zone is None else (session.child_at(loaded, zone),)
    found = session.run(seen(loaded, sections))
    if as_json:
        documents = [_document(apex, each) for apex, each in found.items()]
        output.say_json(documents if zone is None else documents[0])
    elif zone is None:
        _say_all(found)
    else:
        say(zone, found[zone])
    raise typer.Exit(code_of(each and each.outlook for each in found.values()))


async def seen(loaded: Loaded, sections: tuple[ChildSection, ...]) -> dict[bytes, Seen | None]:
    """Where each of them stands; None: no agent has looked after it."""
    if not session.has_store(loaded):
        return dict.fromkeys(section.apex for section in sections)
    async with session.open_store(loaded) as store:
        stored = {section.apex: await store.agents.get(section.apex) for section in sections}
        trouble = await _store_trouble(loaded, store) if any(stored.values()) else None
    return {section.apex: _seen_of(loaded, section, stored[section.apex], trouble) for section in sections}


def _seen_of(
    loaded: Loaded, section: ChildSection, stored: StoredAgent | None, store_trouble: str | None
) -> Seen | None:
    if stored is None:
        return None
    try:
        state = damage.read(stored.document)
    except DamagedState as error:
        advice = "`zonecut child bootstrap` begins anew with what of it can be read, and the keys that are there"
        return Seen(AgentState(Phase.NO_KEY, 0.0, error.reason), Outlook(Doubt.FAILING, error.reason, advice))
    key_trouble = _key_trouble(loaded, section, state)
    return Seen(state, outlook(state, section.settings(), time.time(), key_trouble, store_trouble))


async def _store_trouble(loaded: Loaded, store: Store) -> str | None:
    """Why an agent could keep nothing now; None if it could, or if that cannot be told from here."""
    if store.elsewhere is not None or _is_for_others(loaded):
        return None
    try:
        await store.agents.try_to_write()
    except StoreUnavailable as error:
        return error.reason
    return None


def _is_for_others(loaded: Loaded) -> bool:
    """Whether the store is a file that this user may only read: the daemon's may write it all the same."""
    url = make_url(loaded.configuration.store.url)
    if url.get_backend_name() != "sqlite" or not url.database:
        return False
    # it is not opened: to close it would end the locks that this process has on it
    path = Path(url.database)
    is_mounted_read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    return not (os.access(path, os.W_OK) or is_mounted_read_only or path.stat().st_uid == os.geteuid())


def _key_trouble(loaded: Loaded, section: ChildSection, state: AgentState) -> str | None:
    """Why the key that signs cannot be used; None if it can, or there is none."""
    configuration = loaded.configuration
    if state.key is None or configuration.key_directory is None:
        return None
    keys = ChildKeys(configuration.key_directory, section.apex, configuration.codepoints.to_codepoints())
    try:
        own = keys.find(state.key)
    except UnusableKey as error:
        return error.reason
    except OSError as error:
        return f"the private key cannot be read: {error}"
    return None if own is not None else f"the files of key {state.key} are not in {keys.path}"


def code_of(outlooks: Iterable[Outlook | None]) -> Exit:
    """DONE if all are in sync."""
    codes = {_code(each) for each in outlooks}
    return next((code for code in (Exit.DIFFERENT, Exit.FAILED) if code in codes), Exit.DONE)


def _code(outlook: Outlook | None) -> Exit:
    if outlook is None:
        return Exit.DIFFERENT
    if outlook.is_doubtful:
        return Exit.FAILED
    return Exit.DONE if outlook.in_sync else Exit.DIFFERENT


def to_json(zone: bytes, state: AgentState) -> dict[str, object]:
    """The state with times for people."""
    document = state.to_json()
    for name in ("announced", "announced_in", "receiver_keys", "published", "copies", "milestones", "talks"):
        del document[name]
    for name in AgentState.MOMENTS:
        document[name] = _time(document[name])
    return {"zone": names.to_text(zone), **document}


def _document(zone: bytes, found: Seen | None) -> dict[str, object]:
    """The state as it is to be taken now."""
    if found is None:
        return {"zone": names.to_text(zone), "phase": None, "reason": _NOBODY, "advice": _BEGIN}
    outlook = found.outlook
    told = {"phase": outlook.word.value, "reason": outlook.reason, "advice": outlook.advice}
    return {**to_json(zone, found.state), **told}


def _time(seconds: float | None) -> str | None:
    return to_text(seconds) if seconds else None


def _ago(seconds: float | None) -> str | None:
    if not seconds:
        return None
    ago = time.time() - seconds
    return f"{_time(seconds)} ({ago:.0f} s ago)" if ago >= 0 else f"{_time(seconds)} (in {-ago:.0f} s)"


def _say_all(found: dict[bytes, Seen | None]) -> None:
    with output.Table("ZONE", "PHASE", "SINCE", "REASON") as table:
        for zone, each in found.items():
            if each is None:
                table.add(names.to_text(zone), "-", None, _NOBODY)
            else:
                outlook = each.outlook
                table.add(names.to_text(zone), outlook.word.value, _time(each.state.since), outlook.reason)


def say(zone: bytes, found: Seen | None) -> None:
    """The state in full."""
    title = names.to_text(zone)
    if found is None:
        output.say(f"{title}: {_NOBODY}: {_BEGIN}")
        return
    state, outlook = found
    roll = None if state.roll is None else f"{state.roll.stage.value}, since {_ago(state.roll.since)}"
    output.say_fields(
        title,
        {
            "phase": outlook.word.value
            + (f", tries again: {state.does.value}" if state.does is not state.phase else ""),
            "since": _ago(state.since),
            "reason": outlook.reason,
            "advice": outlook.advice.split("\n") if outlook.advice else None,
            "attempts": f"{state.attempts} in vain" if state.attempts else None,
            "next step": _ago(state.next_at),
            "serial": None if state.serial is None else f"{state.serial}, of the version that was acted on last",
            "key": state.key,
            "receiver": state.receiver,
            "it says": None if state.word is None else f"{state.word}, {_ago(state.word_at)}",
            "roll": roll,
            "note": list(state.notes),
            "differs since": _ago(state.differs_since),
            "in sync at": _ago(state.synced_at),
            "took": None if state.took is None else f"{state.took:.1f} s",
        },
    )
