"""Forged bootstraps against a child with a trusted key: a thousand of them, and the key works always."""

import asyncio
import random
from pathlib import Path

import pytest

from receiver_support import CHILD, Site, ns_of, replace_ns, site
from trust_support import Scripted, delete_keys, key_record, new_pair, state_of, states, upload
from zonecut.plugin.bootstrap import Candidate, Conclusion, Finding
from zonecut.protocol import message
from zonecut.protocol.codepoints import DEFAULT, Rcode, RRType
from zonecut.protocol.keys import KeyPair
from zonecut.protocol.sig0 import sign_request
from zonecut.receiver.keys.trust import TrustSettings
from zonecut.receiver.message.admission import Limits, Source
from zonecut.store import KeyState

FORGERIES = 1000
ZONE = b"\x06parent\x07example\0"


def forgery(here: Site, owner: KeyPair, attacker: KeyPair, dice: random.Random) -> bytes:
    """A message that wants the owner's key gone, or its own key in."""
    own, one = key_record(attacker.key), message.delete_record(CHILD, RRType.KEY, owner.key.rdata)
    kind = dice.randrange(6)
    if kind == 0:
        return upload(here, attacker, replace=True, identity=dice.randrange(65536))
    if kind == 1:
        return upload(here, attacker, replace=False)
    if kind == 2:
        return here.signed(*dice.choice([[delete_keys()], [one], [one, own]]), pair=attacker)
    if kind == 3:  # as the owner, with a signature that is no signature
        wire = here.signed(delete_keys(), own, pair=owner)
        at = dice.randrange(len(wire) - 64, len(wire))
        return wire[:at] + bytes([wire[at] ^ 1 << dice.randrange(8)]) + wire[at + 1 :]
    if kind == 4:  # a genuine signature of the attacker's beside a forged one of the owner's
        at = int(here.clock.now)
        wire = message.update(1, ZONE, [], [delete_keys(), own], [message.opt_record()])
        for pair in dice.sample((owner, attacker), 2):
            wire = sign_request(wire, pair, at, at + 300, signature_type=DEFAULT.signature_type)
            if pair is owner:
                wire = wire[:-1] + bytes([wire[-1] ^ 1])
        return wire
    return here.signed(*replace_ns(CHILD, "evil.ns.example."), pair=attacker)


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_thousand_forged_bootstraps_leave_the_trusted_key_at_work(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    outcomes = [
        Finding(Conclusion.UNDECIDED, "no answer"),
        Finding(Conclusion.CONTRADICTED, "the owner's key is there"),
        Finding(Conclusion.NOT_APPLICABLE, "has no DS"),
        Finding(Conclusion.ACCEPTED, "a broken method", validated=frozenset()),
    ]

    def finds(_: Candidate) -> Finding:
        return dice.choice(outcomes)

    limits = Limits(source_burst=100_000, child_burst=100_000, upload_burst=100_000)
    settings = TrustSettings(attempts=2, pending_per_child=5)
    async with site(
        tmp_path, limits=limits, trust=settings, methods=[("at-apex", Scripted(finds))], manual=False
    ) as here:
        owner = await here.trust(CHILD)
        attackers = [new_pair() for _ in range(30)]
        sources = [Source(f"192.0.2.{number}", 5300, udp=bool(number % 2)) for number in range(1, 20)]
        changes = 0
        for start in range(0, FORGERIES, 20):
            here.clock.now += dice.choice((1, 5, 20))
            waves = [
                asyncio.ensure_future(
                    here.ask(forgery(here, owner, dice.choice(attackers), dice), dice.choice(sources))
                )
                for _ in range(20)
            ]
            for _ in range(dice.randrange(4)):
                await asyncio.sleep(0)
            server = f"ns{start}.ns.example."
            answer = await here.ask(here.signed(*replace_ns(CHILD, server), pair=owner, identity=start))
            assert answer.rcode == Rcode.NOERROR
            assert await here.served() == ns_of(CHILD, server)
            changes += 1
            await asyncio.gather(*waves)
            assert await state_of(here, owner.key) is KeyState.TRUSTED
        held = await states(here)
        assert [rdata for rdata, state in held.items() if state is KeyState.TRUSTED] == [owner.key.rdata]
        assert len(held) > 5
        assert len(await here.store.changes.list(limit=1000)) == changes
        assert here.receiver.tally.counts["defect"] == 0
