"""What a lying name server can make an agent reckon is bounded, for all of one look, and holds up no other zone
(CVE-2023-50387)."""

import asyncio
import threading
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.RRSIG import RRSIG

from agent_support import CHILD
from proof_support import NOW, NS_A, NS_B, ds, look, now, parent_server, server, zone
from zonecut.agent import sync
from zonecut.agent.evidence.proof import Ruling, rule
from zonecut.agent.evidence.zone_view import ChildServer, Standing, ZoneView
from zonecut.agent.state import AgentState, Phase
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol.codepoints import RRType
from zonecut.resolve import check_dnskey_rrset, signatures
from zonecut.resolve.reply import RRset

ROLLED = zone("old", "new", cds=["new"])
ADDRESSES = 100


def replaced(signature: RRSIG, octets: bytes) -> RRSIG:
    changed = signature.replace(signature=octets)
    assert isinstance(changed, RRSIG)
    return changed


def lying(number: int, keys: int, signatures: int) -> ZoneContent:
    """The zone with so many more keys, and with so many signatures that are wrong in the place of the right ones."""
    chance = Random(number)
    content = ROLLED.content
    found = content.signed_dnskey
    assert found is not None
    first, *_ = found.rdatas
    more = [first.replace(key=chance.randbytes(32)) for _ in range(keys)]
    wrong = tuple(replaced(found.signatures[0], chance.randbytes(64)) for _ in range(signatures))
    changed = RRset(CHILD, RRType.DNSKEY, found.ttl, (*found.rdatas, *more), wrong)
    return replace(content, rrsets=(*(each for each in content.rrsets if each.rtype != RRType.DNSKEY), changed))


def beside(*contents: ZoneContent) -> Ruling:
    """The ruling where one server is right and the other has an address for each of these."""
    lies = [
        ChildServer(NS_B, f"192.0.2.{number}", Standing.ANSWERS, content=content)
        for number, content in enumerate(contents, 2)
    ]
    parents = [parent_server("old"), replace(parent_server("old", "new"), address="192.0.2.250")]
    return rule(look(ROLLED, [*lies, server(NS_A, ROLLED)], parents), None, 3600, now())


@pytest.mark.parametrize("keys", [0, 30])
def test_signatures_that_do_not_verify_are_bounded_for_all_servers_of_a_look(
    monkeypatch: pytest.MonkeyPatch, keys: int
) -> None:
    verified: list[bool] = []
    verifies = signatures._verifies

    def counted(*arguments: Any) -> bool:
        verified.append(verifies(*arguments))
        return verified[-1]

    monkeypatch.setattr(signatures, "_verifies", counted)
    ruling = beside(*(lying(number, keys, 8) for number in range(ADDRESSES)))
    assert not ruling.aim.ds_known
    # without the bound 8 for each address at each check; once it is reached, the right ones are still found
    assert verified.count(False) <= 65 + ADDRESSES
    assert verified.count(True) > 0


def test_the_keys_of_a_zone_are_looked_at_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    tags: list[DNSKEY] = []
    key_id = DNSKEY.key_id

    def counted(key: DNSKEY) -> Any:
        tags.append(key)
        return key_id(key)

    many = [lying(number, 500, 8) for number in range(ADDRESSES)]
    monkeypatch.setattr(DNSKEY, "key_id", counted)
    assert not beside(*many).aim.ds_known
    assert len(tags) < 500
    reason = check_dnskey_rrset(CHILD, many[0].signed_dnskey, [ds("old")], NOW)
    assert reason == "child.parent.example. has 502 DNSKEY, and no more than 64 are looked at"


def test_what_a_right_server_shows_counts_whatever_others_have_cost() -> None:
    """A server that has the DS which it needs, after all the failures that there may be."""
    right = [ROLLED.content for _ in range(ADDRESSES)]
    seen = beside(*right)
    assert seen.going is not None
    assert "two looks" in seen.waits[0]


async def test_other_zones_are_looked_after_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    met = threading.Barrier(2)

    def slow(*arguments: Any) -> Ruling:
        # whoever waits here in the loop waits for ever
        met.wait(timeout=10)
        return rule(*arguments)

    async def view(*_: object, **__: object) -> ZoneView:
        return ZoneView(CHILD, (server(NS_A, ROLLED), server(NS_B, ROLLED, "192.0.2.2")))

    monkeypatch.setattr(sync, "view_servers", view)
    monkeypatch.setattr(sync, "rule", slow)
    nobody: Any = None
    seen = look(ROLLED, [], [parent_server("old")])
    judged = asyncio.create_task(sync.judge(nobody, seen, [], AgentState(Phase.IN_SYNC, NOW), now))
    await asyncio.to_thread(met.wait, 10)
    assert (await judged).waits
