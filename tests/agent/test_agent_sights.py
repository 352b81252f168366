"""A whole agent that waits for caches, while somebody forges what nobody signs: referrals."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from agent_simulation import Said, living
from agent_support import CHILD, PARENT
from proof_support import NOW, NS_A, NS_B, parent_server, server, zone
from zonecut.agent import sync
from zonecut.agent.evidence.zone_view import ZoneView
from zonecut.agent.parent.parent_view import ParentView, ServerView
from zonecut.agent.settings import ChildSettings, PrimarySettings
from zonecut.agent.state import Phase
from zonecut.agent.zone.caches import Sight
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol import names
from zonecut.protocol.codepoints import ReceiverState
from zonecut.protocol.delegation import Delegation

SETTINGS = ChildSettings(primary=PrimarySettings(server="127.0.0.1:53"))
BOTH = ("losing", "gaining")
NS_TTL = 86400


@pytest.mark.parametrize("lies_for", [0, 300])
async def test_forged_referrals_make_no_ds_go_before_its_time(lies_for: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another name server at each look, until the genuine one of before has no room any more."""
    signed = replace(zone(*BOTH), by=frozenset(("gaining",)), data_by=frozenset(("gaining",)))
    there = replace(signed, cds=frozenset(("gaining",)), cds_by=frozenset(("gaining",)), ns=frozenset((NS_B,)))
    here = replace(zone(*BOTH), by=frozenset(("losing",)), data_by=frozenset(("losing",)), ns=frozenset((NS_B,)))
    good = replace(parent_server(*BOTH, ns=[NS_B]), ds_ttl=3600, ns_ttl=NS_TTL)
    async with living(lambda *_: Said(word=ReceiverState.TRUSTED), settings=SETTINGS) as simulation:
        life = simulation.life
        life.time, life.content = NOW, there.content
        simulation.restart()
        looks: list[float] = []

        async def parents(*_: object, **__: object) -> ParentView:
            looks.append(life.time)
            liar = replace(good, address="192.0.2.66", ns_ttl=2 * NS_TTL)
            lie = names.from_text(f"x{len(looks)}.evil.example.")
            held = replace(liar.delegation or Delegation(CHILD), ns=(lie,))
            shown: Sequence[ServerView] = (good, replace(liar, delegation=held))
            return ParentView(PARENT, CHILD, tuple(shown if life.time < NOW + lies_for else shown[:1]))

        async def servers(
            _: object, content: ZoneContent, __: object, past: Sequence[Delegation], **___: object
        ) -> ZoneView:
            old = [server(NS_A, here)] if any(NS_A in each.ns for each in past) else []
            return ZoneView(CHILD, (server(NS_B, there, "192.0.2.2"), *old))

        async def sound(*_: object) -> None:
            return None

        monkeypatch.setattr(sync, "view_parent", parents)
        monkeypatch.setattr(sync, "view_servers", servers)
        monkeypatch.setattr(sync, "find_unsound", sound)
        before = Sight(parent_server(*BOTH, ns=[NS_A]).delegation or Delegation(CHILD), 3600, NS_TTL)
        await simulation.put(Phase.OUT_OF_SYNC, uploaded=True, sights=(before,))
        await simulation.run(NS_TTL - 60, most=20000)
        assert lies_for == 0 or len([at for at in looks if at < NOW + lies_for]) > 16
        assert life.count("update") == 0
        await simulation.run(2 * NS_TTL, most=20000)
        assert life.count("update") > 0
