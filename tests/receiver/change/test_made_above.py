"""A delegation that somebody makes above a child's: from then on the child changes nothing, and the one above may."""

from pathlib import Path

from receiver_support import ZONE_TEXT, replace_ns, site
from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode

ABOVE, BELOW = names.from_text("inside.parent.example."), names.from_text("deep.inside.parent.example.")
A, B = "a.ns.example.", "b.ns.example."


async def test_what_is_believed_of_a_child_hides_no_delegation_above_it(tmp_path: Path) -> None:
    zone_file = tmp_path / "parent.zone"
    zone_file.write_text(ZONE_TEXT.format(directory=tmp_path) + f"deep.inside NS {A}\n")
    (tmp_path / "parent.example.delegations").touch()
    async with site(tmp_path) as here:
        await here.trust(BELOW)
        await here.trust(ABOVE)
        assert (await here.ask(here.signed(*replace_ns(BELOW, B), child=BELOW))).rcode == Rcode.NOERROR
        zone_file.write_text(f"{zone_file.read_text()}inside NS {A}\n")
        here.clock.now += 1
        for servers in ((A,), (A, B)):
            answer = await here.ask(here.signed(*replace_ns(BELOW, *servers), child=BELOW))
            assert answer.rcode == Rcode.REFUSED
            assert answer.error is not None
            assert "lies below the delegation of inside.parent.example." in answer.error.text
        # it is refused before it is recorded, not by a write that fails
        assert len(await here.store.changes.list()) == 1
        assert (await here.ask(here.signed(*replace_ns(ABOVE, B), child=ABOVE))).rcode == Rcode.NOERROR
        assert (await here.served(ABOVE)).ns == (names.from_text(B),)
        assert (await here.served(BELOW)).ns == (names.from_text(B),)
