"""The tour's next part: beta's operator does by hand what an agent does (steps 8 to 10)."""

from zonecut.demo.cast import Cast
from zonecut.demo.child import below, replace
from zonecut.demo.servers.authority import ALPHA, BETA, without_ttls
from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT, ReceiverState, RRType
from zonecut.protocol.update import Action, Operation

_NEW_ADDRESS = "198.51.100.21"


def upload(cast: Cast) -> None:
    """The self-signed upload, and how far that goes."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "beta uploads a key, by hand",
        """beta has no agent, is not signed, and does the same with nsupdate. Its key comes in an UPDATE signed with
        itself, which proves possession of the private half and nothing else: the key is known now, and may change
        nothing. What it is worth anybody may ask: an ordinary query with an EDNS option, KEY-ID the key's tag,
        KEY-STATE 2. The answer counts only if the receiver has signed it, together with the question.""",
        "draft-ietf-dnsop-delegation-mgmt-via-ddns, bootstrapping",
        "draft-berra-dnsop-keystate-03",
    )
    beta = cast.beta
    path = beta.save(stage.directory / "beta")
    made = f"dnssec-keygen -K beta -T KEY -n HOST -a ED25519 {BETA}"
    tell.show("beta's operator types (the tour writes the same two files)", path.stem, made)
    operations = [
        Operation(Action.DELETE_RRSET, beta.name, RRType.KEY),
        Operation(Action.ADD, beta.name, RRType.KEY, beta.key.rdata),
    ]
    cast.show_typed("and", operations)
    answer = stage.send(cast.update(operations))
    tell.check("the answer is NOERROR", "NOERROR", answer.status)
    # at-apex comes before an operator, though not for long: an unsigned child has no DS
    (waits,) = stage.receiver.wait("bootstrap.waits-for-operator")
    query = """jq -r 'select(.event == "bootstrap.waits-for-operator") | "\\(.reason); \\(.fingerprint)"' zonecut.log"""
    tell.show("The receiver's log says why that is not the end", f"{waits['reason']}; {waits['fingerprint']}", query)
    option = f"{DEFAULT.keystate_option}:{beta.key.tag:04x}0200"
    command = f"dig @127.0.0.1 -p {stage.port} {BETA} KEY +ednsopt={option}"
    cast.ask_state(ReceiverState.BOOTSTRAP_MANUAL, command, whole=True)
    early = stage.send(cast.update([Operation(Action.DELETE_RRSET, below("ns1", beta.name), RRType.A)]))
    tell.show("A change that beta sends now", f"status: {early.status}, EDE: {early.why}")
    cast.check_refused(early, "REFUSED", DEFAULT.ede_manual_bootstrap_required, "operator")


def trusted(cast: Cast) -> None:
    """What nothing proves, people settle."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "The parent's operator trusts beta's key",
        """Nothing proves whose key it is, so people do: the operator calls beta and compares the fingerprint. (`key
        import --trust` takes a key from a file instead.) Keys are kept in zonecut's store, not in the parent zone.""",
        "draft-ietf-dnsop-delegation-mgmt-via-ddns, bootstrapping (manual)",
    )
    fingerprint = cast.beta.key.fingerprint()
    tell.show("beta reads out", fingerprint)
    done = stage.receiver.run("key", "trust", BETA)
    tell.show("The parent's operator types", done.output, done.line)
    listed = stage.receiver.run("key", "list")
    tell.show("", listed.output, listed.line)
    tell.check("the key has the fingerprint that beta reads out", True, fingerprint in done.output)
    rows = {line.split()[0]: line.split()[3:5] for line in listed.output.splitlines() if line.startswith((ALPHA, BETA))}
    tell.check(
        "two keys are trusted, each by its method",
        {ALPHA: ["trusted", "at-apex"], BETA: ["trusted", "manual"]},
        rows,
    )
    cast.ask_state(ReceiverState.TRUSTED)


def changed(cast: Cast) -> None:
    """The UPDATE by hand that is accepted."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "beta changes its delegation",
        """Another address for ns1, in one UPDATE over TCP. Class ANY deletes an RRset, class IN adds a record.""",
        "RFC 2136 section 2.5",
        "RFC 3007",
    )
    ns1 = below("ns1", cast.beta.name)
    operations = replace(ns1, RRType.A, bytes(map(int, _NEW_ADDRESS.split("."))))
    cast.show_typed("beta's operator types (the tour builds the UPDATE itself, with EDNS added)", operations)
    cast.change = cast.update(operations)
    answer = stage.send(cast.change)
    cast.show_answer(answer, whole=True)
    tell.check("the answer is NOERROR", "NOERROR", answer.status)
    held = [line for line in without_ttls(stage.records_of(BETA)) if line.startswith(names.to_text(ns1))]
    tell.check("the parent has that address, and not the one before", [f"ns1.{BETA} A {_NEW_ADDRESS}"], held)
