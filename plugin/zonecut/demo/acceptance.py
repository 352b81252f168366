"""What the tour begins with, and the change that is accepted (steps 1, 8 and 9)."""

from zonecut.demo.authority import ALPHA, BETA, FIRST_SERIAL, of_child, without_ttls
from zonecut.demo.cast import Cast
from zonecut.demo.child import below, replace
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import rdata_text
from zonecut.protocol.update import Action, Operation

NEW_ADDRESS = "198.51.100.53"
PROVIDER = "dns.provider.example."


def before(cast: Cast) -> None:
    """The zone and zonecut's configuration."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "The parent zone, before",
        """parent.example. delegates alpha and beta. Somebody typed each delegation in, and every change of it is a
        ticket. zonecut stands beside the server and takes such changes from the children themselves.""",
        "RFC 1034 section 4.2.1 (zone cuts)",
    )
    tell.show("The zone", stage.authority.listing(), stage.authority.command)
    tell.show(
        "zonecut's whole configuration (addresses for documentation are special, hence glue_addresses: any; the"
        " resolver is the tour's own, over a root, parent.example. and alpha that are signed for it)",
        stage.configuration,
        "cat zonecut.yaml",
    )
    tell.show("It runs already, as", "", "zonecut serve --config zonecut.yaml")
    cast.zone_before = stage.records()
    delegated = [name for name in (ALPHA, BETA) if any(" NS " in line for line in stage.records_of(name))]
    tell.check("the zone delegates alpha and beta", [ALPHA, BETA], delegated)
    signed = [line.split(" DS ")[1].strip() for line in stage.records_of(ALPHA) if " DS " in line]
    tell.check("alpha is signed: its DS is there", [stage.tree.alpha_ds], signed)
    tell.check(f"the serial is {FIRST_SERIAL}", FIRST_SERIAL, stage.serial())


def move(cast: Cast) -> list[Operation]:
    """What alpha asks for."""
    alpha = cast.alpha.name
    ns1 = below("ns1", alpha)
    return [
        *replace(alpha, RRType.NS, ns1, names.from_text(PROVIDER)),
        *replace(ns1, RRType.A, bytes((198, 51, 100, 53))),
        *replace(ns1, RRType.AAAA, b"\x20\x01\x0d\xb8" + bytes(11) + b"\x53"),
        Operation(Action.ADD, alpha, RRType.DS, cast.alpha.ds()),
    ]


def send_change(cast: Cast) -> None:
    """The UPDATE that is accepted."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "alpha changes its delegation",
        f"""alpha gives ns1 new addresses, replaces ns2 by {PROVIDER} and adds the DS of its next zone key, in
        one DNS UPDATE over TCP. The ZONE section names the parent. Class ANY deletes an RRset, class IN adds a record;
        the SIG record at the end signs all that stands before it.""",
        "RFC 2136 section 2.5 (UPDATE)",
        "RFC 2931 section 3.1 (what is signed)",
        "RFC 3007",
    )
    operations = move(cast)
    cast.serial_before = stage.serial()
    cast.show_typed("alpha's operator types (the tour builds the UPDATE itself, with EDNS added)", operations)
    cast.change = cast.update(operations)
    tell.show("The message", stage.render(cast.change))
    answer = stage.send(cast.change)
    cast.show_answer(answer)
    tell.check("the answer is NOERROR", "NOERROR", answer.status)


def look_after(cast: Cast) -> None:
    """What became of it."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "The parent zone, after",
        """NOERROR means that the change is in zonecut's ledger for good, and here that the server has it. TTLs are the
        parent's, whatever the child asked for. ns2's address is gone: no NS needs it any more. The ledger tells who
        signed what, when, and what it replaced.""",
        "RFC 2136 section 3.4.2",
        "RFC 9471 (glue)",
    )
    tell.show("The zone", stage.authority.listing(), stage.authority.command)
    next_ds = rdata_text(RRType.DS, cast.alpha.ds()).lower()
    expected = [
        f"{ALPHA} NS {PROVIDER}",
        f"{ALPHA} NS ns1.{ALPHA}",
        *sorted(f"{ALPHA} DS {data}" for data in (stage.tree.alpha_ds, next_ds)),
        f"ns1.{ALPHA} A {NEW_ADDRESS}",
        f"ns1.{ALPHA} AAAA 2001:db8::53",
    ]
    listed, shown = stage.zonecut_each(("change", "list"), ("change", "show", "1"))
    tell.show("The ledger", listed.output, listed.line)
    summary, found, _ = shown.output.partition("\nmessage\n")
    tell.show("The change; `change show` also prints the signed message, which is left out here", summary, shown.line)
    tell.check(
        "the zone holds what alpha asked for, and nothing else of alpha",
        expected,
        without_ttls(stage.records_of(ALPHA)),
    )
    tell.check("beta is as it was", of_child(cast.zone_before, BETA), stage.records_of(BETA))
    before, now = cast.serial_before, stage.serial()
    tell.check("the serial has risen", f"more than {before}", now, passed=now > before)
    tell.check("the ledger holds one change, applied", 1, listed.output.count("applied"))
    tell.check("with the whole signed message as evidence", True, bool(found))
