"""The tour's main part: alpha's delegation, looked after by an agent (steps 4 to 7)."""

import time

from zonecut.agent.state import Phase
from zonecut.demo.alpha import NEW_ADDRESS, PROVIDER
from zonecut.demo.cast import Cast
from zonecut.demo.child import next_ds
from zonecut.demo.daemon import Event
from zonecut.demo.narrator import difference
from zonecut.demo.servers.authority import ALPHA, BETA, of_child, without_ttls
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import rdata_text

_SOON = 10.0
"""Seconds within which the parent serves what the child says, here where everything is close and nobody waits."""
_STATES = """jq -r 'select(.event == "agent.state") | "\\(.phase): \\(.reason)"' alpha.log"""


def begins(cast: Cast) -> None:
    """From no key to a trusted one, with nobody's help."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "The agent starts, and comes to be trusted",
        """It makes a SIG(0) key: a KEY, which signs messages, no DNSKEY. It publishes the public half at alpha's apex,
        asks the receiver what that key is worth (KeyState), hears "unknown", and uploads it in an UPDATE signed with
        itself. The receiver looks KEY up and validates it: the parent's DS, alpha's DNSKEY and the signature over KEY
        make one chain. The key is there, so alpha wants it: no telephone, no ticket.""",
        "draft-ietf-dnsop-delegation-mgmt-via-ddns, bootstrapping",
        "draft-berra-dnsop-keystate-03",
        "RFC 2931 (SIG(0))",
    )
    alpha = stage.alpha
    tell.show("alpha's operator types", "", f"zonecut serve --config {alpha.agent.configuration}")
    alpha.start()
    states = alpha.wait_for(Phase.IN_SYNC)
    tell.show("What its log tells of that", _told(states), _STATES)
    (made,) = alpha.agent.events("agent.key")
    (trusted,) = stage.receiver.wait("bootstrap.trusted")
    found = stage.tree.look_up(names.from_text(ALPHA), RRType.KEY)
    tell.show(
        "and the receiver's log",
        trusted["reason"],
        "jq -r 'select(.event == \"bootstrap.trusted\") | .reason' zonecut.log",
    )
    tell.show("The record, as anybody finds it", found.to_text())
    shown = alpha.agent.run("child", "status", ALPHA)
    tell.show("alpha's operator looks how it stands", shown.output, shown.line)

    phases = [event["phase"] for event in states]
    expected = [Phase.PUBLISHED, Phase.ASKING, Phase.BOOTSTRAPPING, Phase.TRUSTED, Phase.IN_SYNC]
    tell.check("it went through every phase", expected, list(dict.fromkeys(phases)))
    file = stage.directory.joinpath(made["file"])
    mode = file.with_suffix(".private").stat().st_mode & 0o777
    tell.check("nobody but its owner can read the private half", "600", f"{mode:o}")
    published = found.to_text().split(" KEY ")[1].strip()
    tell.check("what is published is the public half", True, published in file.read_text())
    tell.check(
        "the receiver trusts that key, by at-apex",
        (ALPHA, made["key"], "at-apex"),
        (trusted["child"], trusted["key"], trusted["method"]),
    )
    tell.check("there was nothing to change yet", of_child(cast.zone_before, ALPHA), stage.records_of(ALPHA))


def edited(cast: Cast) -> None:
    """Somebody edits the child zone, and that is all that anybody does."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "alpha gets another name server",
        f"""alpha's operator replaces ns2 by {PROVIDER} and gives ns1 a new address, in alpha's zone; and, as
        a signer does before it changes keys, asks for a DS of the next one by CDS. That is all. The agent notices (here
        by looking at the serial twice a second; NOTIFY tells it at once), compares the zone with what the parent's
        servers hand out, and sends the difference.""",
        "RFC 7344 (CDS)",
        "RFC 2136 (UPDATE)",
    )
    alpha = stage.alpha
    new_ds = rdata_text(RRType.DS, next_ds(names.from_text(ALPHA)))
    before, serial, already = alpha.filed.file.read_text().splitlines(), stage.serial(), len(alpha.states())
    began = time.monotonic()
    alpha.edit(
        ("@    NS   ns2\n", f"@    NS   {PROVIDER}\n@    CDS  {alpha.ds}\n@    CDS  {new_ds}\n"),
        ("ns1  A    127.0.0.11\n", f"ns1  A    {NEW_ADDRESS}\n"),
        ("ns2  A    127.0.0.12\n", ""),
    )
    title = "alpha's operator edits the zone and has it loaded, as the agent does"
    tell.show(
        title,
        difference(before, alpha.filed.file.read_text().splitlines()),
        f"vi {alpha.file}\ntouch {alpha.file.removesuffix('zone')}reload",
    )
    states = alpha.wait_for(Phase.IN_SYNC, already)
    seconds = time.monotonic() - began
    tell.show("What the agent's log tells of that", _told(states), _STATES)
    stage.sign_parent()
    shown = alpha.agent.run("doctor", ALPHA, "--port", str(alpha.server.port))
    tell.show("alpha's operator looks at both sides from outside, as anybody may", shown.output, shown.line)
    told: set[str] = set()
    for exhibit in stage.authority.asked(ALPHA):
        tell.show(exhibit.title, exhibit.output, exhibit.command)
        told.update(without_ttls(exhibit.output.splitlines()))
    phases = [event["phase"] for event in states]
    tell.check("the agent saw a difference, and then none", (Phase.OUT_OF_SYNC, Phase.IN_SYNC), (phases[0], phases[-1]))
    (change,) = alpha.agent.events("agent.change")
    tell.check("it sent one UPDATE, which was accepted", "accepted", change["result"])
    tell.check(
        f"that took less than {_SOON:g} s from the edit on",
        f"less than {_SOON:g} s",
        f"{seconds:.2f} s",
        passed=seconds < _SOON,
    )
    expected = [
        f"{ALPHA} NS {PROVIDER}",
        f"{ALPHA} NS ns1.{ALPHA}",
        *sorted(f"{ALPHA} DS {data}".lower().replace(" ds ", " DS ") for data in (alpha.ds, new_ds)),
        f"ns1.{ALPHA} A {NEW_ADDRESS}",
    ]
    held = without_ttls(stage.records_of(ALPHA))
    tell.check("the parent holds what alpha's zone says, and nothing else of alpha", expected, held)
    tell.check(f"that is what {stage.authority.name} answers", sorted(held), sorted(told))
    tell.check("and all is well", f"{ALPHA}  all well", shown.output.splitlines()[0])
    noted = [line.split(":")[0].split() for line in shown.output.splitlines() if line.startswith("  note")]
    tell.check(
        "the key of one DS is yet to come",
        True,
        f"note DS {new_ds}".upper().split() in [[word.upper() for word in words] for words in noted],
    )
    tell.check("beta is as it was", of_child(cast.zone_before, BETA), stage.records_of(BETA))
    now = stage.serial()
    tell.check("the serial has risen", f"more than {serial}", now, passed=now > serial)


def recorded(cast: Cast) -> None:
    """What the parent's operator sees of it."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "What the parent's operator sees",
        """NOERROR meant that the change is in zonecut's ledger for good, and here that the server has it. TTLs are the
        parent's, whatever the child asked for. ns2's address is gone: no NS needs it any more. The ledger tells who
        signed what, when, and what it replaced, with the message as it came: the ZONE section names the parent, class
        NONE deletes a record, class IN adds one; the SIG record at the end signs all that stands before it.""",
        "RFC 2136 section 2.5",
        "RFC 2931 section 3.1 (what is signed)",
        "RFC 9471 (glue)",
    )
    tell.show("The zone", stage.authority.listing(), stage.authority.command)
    listed, shown = stage.receiver.run_each(("change", "list"), ("change", "show", "1"))
    tell.show("The ledger", listed.output, listed.line)
    summary, _, rest = shown.output.partition("\nbefore\n")
    _, found, wire = rest.partition("\nmessage\n")
    title = "The change; what the delegation was before and after, as a whole, is left out here"
    tell.show(title, summary + found + wire, shown.line)
    tell.check("the ledger holds one change, applied", 1, listed.output.count("applied"))
    tell.check("with the whole signed message as evidence", True, bool(found and wire))


def mistaken(cast: Cast) -> None:
    """What the agent does with a zone that the parent does not want like that."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "alpha's operator makes a mistake",
        """The other name server is deleted from the zone, and the parent wants two (`min_ns`). It refuses, and tells
        a child that has proved who it is which rule is broken. One refusal is no reason to stop: the agent tries again,
        ever more seldom, says so, and the parent keeps what works. It goes on by itself when the zone changes.""",
        "RFC 8914 (extended errors)",
    )
    alpha = stage.alpha
    zone, serial, already = stage.records(), stage.serial(), len(alpha.states())
    line = f"@    NS   {PROVIDER}\n"
    alpha.edit((line, ""))
    alpha.wait_for_refusal(already)
    shown = alpha.agent.run("child", "status", ALPHA, expect=3)
    tell.show("alpha's operator looks why nothing happens", shown.output, shown.line)
    already = len(alpha.states())
    alpha.edit(("@    NS   ns1\n", f"@    NS   ns1\n{line}"))
    states = alpha.wait_for(Phase.IN_SYNC, already)
    tell.show("and puts the line back", _told(states), _STATES)
    tell.check("the status names the record and the rule", True, f"{ALPHA} NS" in shown.output)
    tell.check("and says what to do", True, "mend what the reason names in the child zone" in shown.output)
    cast.check_zone(zone, serial)
    cast.refused += [(ALPHA, "ns-count")] * alpha.refusals


def _told(states: list[Event]) -> str:
    return "\n".join(f"{event['phase']}: {event['reason']}" for event in states)
