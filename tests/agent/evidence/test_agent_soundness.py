"""What is wrong with a zone whose parent holds all that it asks for."""

from dataclasses import replace

import pytest

from agent_support import CHILD, PARENT, Told, absent, failing, found
from resolve_support import NOW, Signer
from zonecut.agent.evidence.soundness import Unsound, find_unsound, signed_unseen, unseen
from zonecut.agent.parent.parent_view import ParentView, ServerView
from zonecut.agent.settings import DsSettings
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.resolve import Verdict

NS = names.from_text("ns.operator.example.")
SIGNER, OTHER = Signer("child.parent.example."), Signer("child.parent.example.", label="another")
DS, OTHER_DS = SIGNER.ds().to_digestable(), OTHER.ds().to_digestable()
OLD_KIND = SIGNER.ds().to_digestable()[:3] + b"\1" + bytes(20)
"""Of SHA-1."""
KEYS = SIGNER.dnskeys(inception=NOW - 3600, expiration=NOW + 3600)
SIGNED = ZoneContent(CHILD, 1, (NS,), cds=(), dnskey=KEYS.wires, rrsets=(KEYS,))
UNSIGNED = ZoneContent(CHILD, 1, (NS,), cds=(), dnskey=())
THROUGH_BACKEND = ZoneContent(CHILD, None, (NS,))
IN_THE_WORLD = ("child.parent.example.", RRType.DNSKEY)


def view(*shown: tuple[bytes, ...], hides: bool = False) -> ParentView:
    servers = []
    for ds in shown:
        records = [RR(CHILD, RRType.NS, NS), *(RR(CHILD, RRType.DS, each) for each in ds)]
        servers.append(ServerView(NS, "192.0.2.1", None if hides else Delegation.of(CHILD, records), ds=ds))
    return ParentView(PARENT, CHILD, tuple(servers))


async def of(
    content: ZoneContent, parent: ParentView, world: Told | None = None, settings: DsSettings | None = None
) -> Unsound | None:
    return await find_unsound(world or Told({}), content, settings or DsSettings(), parent, NOW)


async def test_a_zone_that_is_signed_by_what_the_ds_names_is_sound() -> None:
    assert await of(SIGNED, view((DS,))) is None
    assert await of(SIGNED, view((DS, OTHER_DS))) is None
    assert await of(SIGNED, view(())) is None
    assert await of(UNSIGNED, view(())) is None


@pytest.mark.parametrize("hides", [False, True])
async def test_a_zone_that_is_not_signed_under_a_ds_is_bogus(hides: bool) -> None:
    told = await of(UNSIGNED, view((DS,), hides=hides))
    assert told is not None
    assert told.reason.startswith("child.parent.example. is bogus")
    assert "it is not signed" in told.reason
    assert "CDS 0 0 0 00" in told.advice


async def test_a_zone_is_bogus_whose_keys_no_ds_of_some_server_names() -> None:
    told = await of(SIGNED, view((OTHER_DS,)))
    assert told is not None
    assert "no DNSKEY of child.parent.example. matches its DS" in told.reason
    assert not told.passes
    differing = await of(SIGNED, view((DS,), (OTHER_DS,)))
    assert differing is not None
    assert "some of the parent's servers" in differing.reason
    assert differing.passes, "a change may be on its way to all of them"


async def test_a_ds_of_a_kind_that_nobody_validates_makes_nothing_bogus() -> None:
    assert await of(UNSIGNED, view((OLD_KIND,))) is None
    assert await of(SIGNED, view((OLD_KIND,))) is None


async def test_what_cannot_be_seen_through_a_backend_is_looked_up() -> None:
    told = await of(THROUGH_BACKEND, view(()), Told({IN_THE_WORLD: found(KEYS.wires[0], verdict=Verdict.INSECURE)}))
    assert told is not None
    assert "is signed, and through its backend neither CDS nor DNSKEY can be seen" in told.reason
    assert "`primary`" in told.advice
    told = await of(THROUGH_BACKEND, view((DS,)), Told({IN_THE_WORLD: failing(Verdict.BOGUS)}))
    assert told is not None
    assert "is bogus" in told.reason


async def test_nothing_is_said_of_what_is_not_known() -> None:
    for answer in (absent(), failing(), failing(Verdict.BOGUS)):
        assert await of(THROUGH_BACKEND, view(()), Told({IN_THE_WORLD: answer})) is None
    for answer in (absent(), failing(), found(KEYS.wires[0])):
        assert await of(THROUGH_BACKEND, view((DS,)), Told({IN_THE_WORLD: answer})) is None
    assert await of(THROUGH_BACKEND, ParentView(PARENT, CHILD, ()), Told({IN_THE_WORLD: found(KEYS.wires[0])})) is None


async def test_who_says_that_ds_are_not_asked_for_is_not_told_to_ask_for_them() -> None:
    off = DsSettings(source="off")
    world = Told({IN_THE_WORLD: found(KEYS.wires[0], verdict=Verdict.INSECURE)})
    assert unseen(THROUGH_BACKEND, off) is None
    assert await of(THROUGH_BACKEND, view(()), world, off) is None
    assert await signed_unseen(world, THROUGH_BACKEND, off) is None


def test_what_a_backend_shows_is_seen() -> None:
    assert unseen(THROUGH_BACKEND, DsSettings()) is not None
    assert unseen(replace(THROUGH_BACKEND, cds=(DS,)), DsSettings()) is None
    assert unseen(UNSIGNED, DsSettings()) is None
