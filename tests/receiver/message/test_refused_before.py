"""What a refusal costs: a child pays once for what it signed, whoever repeats it."""

from pathlib import Path

from receiver_support import CHILD, Site, replace_ns, site
from zonecut.protocol import message
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.receiver.message.admission import Limits, Source

BURST = 3


async def repeated_by_strangers(here: Site, wire: bytes) -> None:
    for host in range(2 * BURST):
        assert (await here.ask(wire, Source(f"198.51.100.{host}", 1, udp=True))).rcode == Rcode.REFUSED


async def test_a_stranger_who_repeats_what_was_refused_does_not_use_up_the_child_s_rate(tmp_path: Path) -> None:
    async with site(tmp_path, limits=Limits(child_burst=BURST, child_rate=0.001)) as here:
        await here.trust(CHILD)
        await repeated_by_strangers(here, here.signed(message.delete_rrset(CHILD, RRType.NS)))
        assert (await here.ask(here.signed(*replace_ns(CHILD, "a.ns.example.")))).rcode == Rcode.NOERROR
        # while its own refused ones cost it something each
        for _ in range(BURST):
            here.clock.now += 1
            await here.ask(here.signed(message.delete_rrset(CHILD, RRType.NS)))
        assert (await here.ask(here.signed(*replace_ns(CHILD, "b.ns.example.")))).rcode == Rcode.REFUSED


async def test_what_was_refused_is_audited_once_and_its_repetitions_are_counted(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.trust(CHILD)
        await repeated_by_strangers(here, here.signed(message.delete_rrset(CHILD, RRType.NS)))
        await here.receiver.close(5)
        (refused,) = await here.store.audit.list(event="change.refused")
        assert refused.entry.rule is not None
        assert here.receiver.tally.counts[refused.entry.rule] == 2 * BURST


async def test_what_the_rate_refused_is_charged_when_it_is_sent_again(tmp_path: Path) -> None:
    async with site(tmp_path, limits=Limits(child_burst=1, child_rate=0.1)) as here:
        await here.trust(CHILD)
        assert (await here.ask(here.signed(*replace_ns(CHILD, "a.ns.example.")))).rcode == Rcode.NOERROR
        late = here.signed(*replace_ns(CHILD, "b.ns.example."))
        assert (await here.ask(late)).rcode == Rcode.REFUSED
        assert (await here.ask(late)).rcode == Rcode.REFUSED
        here.clock.now += 11
        assert (await here.ask(late)).rcode == Rcode.NOERROR
