"""How a key comes to be trusted: when it is uploaded, and when it is not yet."""

from types import SimpleNamespace
from typing import Any, cast

from agent_support import CHILD, PARENT, TARGET, pair
from zonecut.agent.bootstrap import upload
from zonecut.agent.context import AgentContext
from zonecut.agent.exchange.result import Result
from zonecut.agent.keys.child_keys import OwnKey
from zonecut.agent.parent.receiver import KeyTrust, UpdateReceiver
from zonecut.agent.settings import ChildSettings, PrimarySettings
from zonecut.agent.state import AgentState, Phase
from zonecut.agent.transitions import Heard, Now
from zonecut.agent.zone.zone_content import ZoneContent

SETTINGS = ChildSettings(primary=PrimarySettings(server="127.0.0.1:53"))
KEYS = pair(CHILD)
OWN = cast(OwnKey, SimpleNamespace(pair=KEYS, key=KEYS.key, fingerprint=KEYS.key.fingerprint()))
PARTY = UpdateReceiver(PARENT, TARGET, (), (), KeyTrust.VALIDATED, None, "")


class Place:
    """A workplace whose receiver takes everything; `wrote`: what was to be published had to be written."""

    def __init__(self, *, wrote: bool) -> None:
        self.zone, self.settings, self.sent = CHILD, SETTINGS, 0
        self.source = self
        self._wrote = wrote

    def now(self) -> Now:
        return Now(1000.0, 0.5, SETTINGS)

    async def restore(self, state: AgentState) -> tuple[AgentState, tuple[str, ...], bool]:
        return state, (), self._wrote

    async def content(self) -> ZoneContent:
        return ZoneContent(CHILD, 1)

    async def say(self, *_: Any) -> tuple[Heard, None]:
        self.sent += 1
        return Heard(Result.ACCEPTED, ""), None

    async def record(self, *_: Any, **__: Any) -> None:
        return None


async def test_a_key_that_had_to_be_put_back_is_seen_before_it_is_uploaded() -> None:
    """Else the receiver looks for it where a server does not have it yet, and keeps that there is none."""
    state = AgentState(Phase.BOOTSTRAPPING, 0.0, key=OWN.fingerprint)
    place = Place(wrote=True)
    after = await upload(cast(AgentContext, place), state, OWN, PARTY)
    assert (after.phase, place.sent) == (Phase.PUBLISHED, 0)
    assert after.next_at > 1000.0
    place = Place(wrote=False)
    after = await upload(cast(AgentContext, place), state, OWN, PARTY)
    assert (after.phase, after.uploaded, place.sent) == (Phase.BOOTSTRAPPING, True, 1)
