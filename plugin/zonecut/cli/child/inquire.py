"""`zonecut child inquire`: what the parent says of a child zone's keys."""

import time
from typing import NamedTuple

import typer

from zonecut.agent.exchange.update_client import Inquired, Patience, Result, UpdateClient
from zonecut.agent.keys.child_keys import ChildKeys, OwnKey
from zonecut.agent.parent.receiver import UpdateReceiver
from zonecut.cli import session
from zonecut.cli.child.parent import WORTHS, look
from zonecut.cli.failures import Exit, Failure
from zonecut.cli.options import ChildZoneArgument, ConfigOption, JsonOption, KeyidOption
from zonecut.cli.terminal import output
from zonecut.config import ChildSection, Loaded
from zonecut.protocol import names
from zonecut.protocol.codepoints import ReceiverState
from zonecut.protocol.foreigntext import quoted
from zonecut.protocol.keystate import state_text

_MEANINGS = {
    0: "the receiver could not make sense of the question",
    1: "the receiver cannot tell now; ask again",
    4: "changes that this key signs are taken",
    5: "the receiver has never seen this key; it has to be uploaded (bootstrap)",
    6: "the key itself is broken; make another one",
    7: "the receiver's policy does not accept this key",
    8: "it could not be found out that the key is the zone's; publish it as the parent wants it, and upload it again",
    9: "the key is known, and the receiver is finding out whether it is the zone's",
    10: "the key is known, and an operator of the parent has to compare its fingerprint",
}
"""What each KEY-STATE of a receiver asks of the child's operator."""


class _Asked(NamedTuple):
    own: OwnKey
    party: UpdateReceiver
    inquired: Inquired

    @property
    def is_trusted(self) -> bool:
        told = self.inquired.keystate
        return self.inquired.believed and told is not None and told.key_state == ReceiverState.TRUSTED


def command(
    zone: ChildZoneArgument, keyid: KeyidOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Ask the parent's receiver what each key of a child zone is worth to it (KeyState).

    The question is signed with the very key, and the answer counts only if it is signed by a key of the receiver that
    can be believed. An inquiry changes nothing.

    Exit code 0: all of them are trusted. 3: one is not. 1: of one, there is no answer that counts.

    Example: zonecut child inquire child.parent.example.
    """
    loaded = session.load(config)
    section = session.child_at(loaded, zone)
    keys = _keys(loaded, section, keyid)
    asked = session.run(_ask(loaded, section, keys))
    if as_json:
        output.say_json([_to_json(each) for each in asked])
    else:
        for each in asked:
            _say(each)
    raise typer.Exit(_code(asked))


def _keys(loaded: Loaded, section: ChildSection, keyid: int | None) -> tuple[OwnKey, ...]:
    configuration = loaded.configuration
    assert configuration.key_directory is not None  # the configuration sees to that
    own = ChildKeys(configuration.key_directory, section.apex, configuration.codepoints.to_codepoints())
    found = tuple(each for each in own.all() if keyid is None or each.key.tag == keyid)
    if not found:
        which = "no key" if keyid is None else f"no key with tag {keyid}"
        raise Failure(f"{section.zone}: {which} in {own.path}")
    for remark in filter(None, (own.remark(each, time.time()) for each in found)):
        output.complain(remark)
    return found


async def _ask(loaded: Loaded, section: ChildSection, keys: tuple[OwnKey, ...]) -> list[_Asked]:
    seen = await look(loaded, section.apex, section.parent)
    if not seen.parties:
        raise Failure(f"{section.zone}: nobody to ask: {seen.reason}")
    codepoints = loaded.configuration.codepoints.to_codepoints()
    # as the agent does: the next one where one does not answer, if as much vouches for it
    parties = [each for each in seen.parties if each.is_vouched is seen.parties[0].is_vouched]
    patience = Patience(timeout=5.0, retries=1)
    asked = []
    for own in keys:
        for party in parties:
            talk = UpdateClient(party, own.pair, section.parent, codepoints=codepoints, patience=patience)
            answered = _Asked(own, party, await talk.inquire())
            if answered.inquired.outcome.result is not Result.SILENT:
                break
        asked.append(answered)
    return asked


def _code(asked: list[_Asked]) -> Exit:
    if not all(each.inquired.believed for each in asked):
        return Exit.FAILED
    return Exit.DONE if all(each.is_trusted for each in asked) else Exit.DIFFERENT


def _to_json(asked: _Asked) -> dict[str, object]:
    key = asked.own.key
    return {
        "zone": names.to_text(key.owner),
        "key": {"tag": key.tag, "algorithm": key.algorithm, "fingerprint": key.fingerprint()},
        "receiver": asked.party.to_json(),
        **asked.inquired.to_json(),
    }


def _say(asked: _Asked) -> None:
    key, inquired, party = asked.own.key, asked.inquired, asked.party
    response, told = inquired.outcome.response, inquired.keystate
    signed = "no answer" if response is None else response.signed.value
    if response is not None and response.by is not None:
        signed += f", by key {response.by.tag} of {names.to_text(party.target)}"
    output.say_fields(
        f"{names.to_text(key.owner)} key {key.tag}",
        {
            "fingerprint": key.fingerprint(),
            "state": None if told is None else f"{state_text(told.key_state)} ({told.key_state})",
            "means": None if told is None else _MEANINGS.get(told.key_state),
            "it says": None if told is None else quoted(told.extra_text),
            "believed": "yes" if inquired.believed else f"no: {inquired.reason}",
            "answer": inquired.outcome.reason,
            "signed": signed,
            "its key is": f"{party.worth}: {WORTHS[party.worth]}",
            "ignored": "; ".join(inquired.outcome.ignored),
        },
    )
