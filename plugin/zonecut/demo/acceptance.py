"""The tour's first half: a key is made, handed over, trusted and used (steps 1 to 5)."""

from zonecut.demo.authority import FIRST_SERIAL, of_child, without_ttls
from zonecut.demo.cast import ALPHA, BETA, Cast
from zonecut.demo.child import below, replace
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import rdata_text
from zonecut.protocol.update import Operation

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
        "zonecut's whole configuration (addresses for documentation are special, hence glue_addresses: any)",
        stage.configuration,
        "cat zonecut.yaml",
    )
    tell.show("It runs already, as", "", "zonecut serve --config zonecut.yaml")
    cast.zone_before = stage.records()
    delegated = [name for name in (ALPHA, BETA) if any(" NS " in line for line in stage.records_of(name))]
    tell.check("the zone delegates alpha and beta", [ALPHA, BETA], delegated)
    tell.check("alpha has no DS", [], [line for line in stage.records_of(ALPHA) if " DS " in line])
    tell.check(f"the serial is {FIRST_SERIAL}", FIRST_SERIAL, stage.serial())


def make_key(cast: Cast) -> None:
    """alpha's SIG(0) key."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "alpha makes a SIG(0) key",
        """A key pair that signs messages, not zones: a KEY, no DNSKEY. The private half stays with alpha, the parent
        gets the KEY record. Its fingerprint is short enough to be compared over the telephone.""",
        "RFC 2535 section 3 (KEY)",
        "RFC 2931 (SIG(0))",
        "RFC 8080 (Ed25519)",
    )
    path = cast.alpha.save(stage.directory / "keys")
    cast.key_file = f"keys/{path.name}"
    tell.show(
        "alpha's operator types (the tour writes the same two files without BIND)",
        path.stem,
        f"dnssec-keygen -K keys -T KEY -n HOST -a ED25519 {ALPHA}",
    )
    tell.show("The public half, for the parent", path.read_text(), f"cat {cast.key_file}")
    tell.show("Its fingerprint", cast.alpha.key.fingerprint())
    mode = path.with_suffix(".private").stat().st_mode & 0o777
    tell.check("nobody but its owner can read the private half", "600", f"{mode:o}")


def trust_key(cast: Cast) -> None:
    """The operator imports it."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "The parent's operator trusts the key",
        """All the rest hangs on this: is that really alpha's key? The operator got the file, called alpha and compared
        the fingerprint. Keys are kept in zonecut's store, not in the parent zone. The daemon sees it at once.""",
        "draft-ietf-dnsop-delegation-mgmt-via-ddns, bootstrapping (manual)",
    )
    imported = stage.zonecut("key", "import", cast.key_file, "--trust")
    tell.show("", imported.output, imported.line)
    listed = stage.zonecut("key", "list")
    tell.show("", listed.output, listed.line)
    fingerprint = cast.alpha.key.fingerprint()
    tell.check("the imported key has the fingerprint that alpha sees", True, fingerprint in imported.output)
    rows = [line for line in listed.output.splitlines() if ALPHA in line]
    tell.check("one key of alpha is listed, as trusted", (1, True), (len(rows), "trusted" in "".join(rows)))


def move(cast: Cast) -> list[Operation]:
    """What alpha asks for."""
    alpha = cast.alpha.name
    ns1 = below("ns1", alpha)
    return [
        *replace(alpha, RRType.NS, ns1, names.from_text(PROVIDER)),
        *replace(ns1, RRType.A, bytes((198, 51, 100, 53))),
        *replace(ns1, RRType.AAAA, b"\x20\x01\x0d\xb8" + bytes(11) + b"\x53"),
        *replace(alpha, RRType.DS, cast.alpha.ds()),
    ]


def send_change(cast: Cast) -> None:
    """The UPDATE that is accepted."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "alpha changes its delegation",
        f"""alpha gives ns1 new addresses, replaces ns2 by {PROVIDER} and turns on DNSSEC, in one DNS UPDATE over TCP.
        The ZONE section names the parent. Class ANY deletes an RRset, class IN adds a record; the SIG record at the end
        signs all that stands before it.""",
        "RFC 2136 section 2.5 (UPDATE)",
        "RFC 2931 section 3.1 (what is signed)",
        "RFC 3007",
    )
    operations = move(cast)
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
    expected = [
        f"{ALPHA} NS {PROVIDER}",
        f"{ALPHA} NS ns1.{ALPHA}",
        f"{ALPHA} DS {rdata_text(RRType.DS, cast.alpha.ds()).lower()}",
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
    tell.check(
        "the serial has risen", f"more than {FIRST_SERIAL}", stage.serial(), passed=stage.serial() > FIRST_SERIAL
    )
    tell.check("the ledger holds one change, applied", 1, listed.output.count("applied"))
    tell.check("with the whole signed message as evidence", True, bool(found))
