"""The tour's first part: the receiver is announced, and a key comes to be trusted by itself (steps 2 to 7).

The sequence of draft-ietf-dnsop-delegation-mgmt-via-ddns: publish KEY, ask, upload, be validated, be trusted.
"""

import json

from zonecut.demo.authority import ALPHA, BETA, PARENT
from zonecut.demo.cast import Cast
from zonecut.demo.tree import SLOW
from zonecut.protocol.codepoints import DEFAULT, ReceiverState, RRType
from zonecut.protocol.dsync import Dsync, for_update, parent_name
from zonecut.protocol.keyfiles import file_stem
from zonecut.protocol.keys import Key
from zonecut.protocol.svcb import Method, Svcb, announced
from zonecut.protocol.update import Action, Operation


def announce(cast: Cast) -> None:
    """DSYNC, KEY and SVCB, written by a command and found by a child."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "The parent announces its receiver",
        """DSYNC says where UPDATEs go, KEY with what the receiver signs its answers, SVCB how a child's key comes to be
        trusted. alpha finds all three through a resolver that it need not trust: it validates them itself, from the
        trust anchor down.""",
        "RFC 9859 section 4 (discovery)",
        "RFC 9460 (SVCB)",
    )
    done = stage.zonecut("parent", "publish", PARENT)
    title = "The parent's operator types (`publish: true` in the configuration does it at start)"
    tell.show(title, done.output, done.line)
    stage.sign_parent()

    dsync = stage.tree.look_up(parent_name(stage.zone_name), RRType.DSYNC)
    (receiver,) = for_update(map(Dsync.from_wire, dsync.rdatas))
    keys = stage.tree.look_up(receiver.target, RRType.KEY)
    svcb = stage.tree.look_up(receiver.target, RRType.SVCB)
    tell.show("What alpha finds, all of it secure", dsync.to_text() + keys.to_text() + svcb.to_text())
    cast.receiver_key = Key.from_rdata(receiver.target, keys.rdatas[0])
    tell.check("DSYNC leads to the port on which zonecut listens", stage.port, receiver.port)
    tell.check("there is one KEY to verify answers with", 1, len(keys.rdatas))
    methods = announced(map(Svcb.from_wire, svcb.rdatas))
    tell.check("SVCB offers at-apex, and an operator as a last resort", (Method.AT_APEX, Method.MANUAL), methods)


def make_key(cast: Cast) -> None:
    """alpha's SIG(0) key."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "alpha makes a SIG(0) key and publishes it",
        """A key pair that signs messages, not zones: a KEY, no DNSKEY. The private half stays with alpha; the public
        half goes to the apex of alpha's own zone, which is signed, so that nobody else could have put it there.""",
        "RFC 2535 section 3 (KEY)",
        "RFC 2931 (SIG(0))",
        "RFC 8080 (Ed25519)",
    )
    path = cast.alpha.save(stage.directory / "keys")
    tell.show(
        "alpha's operator types (the tour writes the same two files without BIND)",
        path.stem,
        f"dnssec-keygen -K keys -T KEY -n HOST -a ED25519 {ALPHA}",
    )
    stage.tree.publish_key(cast.alpha.key)
    found = stage.tree.look_up(cast.alpha.name, RRType.KEY)
    tell.show("and puts the record into alpha's zone, where a look-up finds it, secure", found.to_text())
    mode = path.with_suffix(".private").stat().st_mode & 0o777
    tell.check("nobody but its owner can read the private half", "600", f"{mode:o}")
    tell.check("what is published is the public half", (cast.alpha.key.rdata,), found.rdatas)


def ask_first(cast: Cast) -> None:
    """KeyState of a key that nobody knows."""
    cast.tell.step(
        "alpha asks what its key is worth",
        """An ordinary query with an EDNS option: KEY-ID is the key's tag, KEY-STATE 2 means "what is it worth?". It
        changes nothing. The answer counts only if the receiver has signed it, together with the question.""",
        "draft-berra-dnsop-keystate-03",
        "RFC 2931 section 3.1",
    )
    option = f"{DEFAULT.keystate_option}:{cast.alpha.key.tag:04x}0200"
    cast.ask_state(
        ReceiverState.UNKNOWN, f"dig @127.0.0.1 -p {cast.stage.port} {ALPHA} KEY +ednsopt={option}", whole=True
    )


def upload(cast: Cast) -> None:
    """The self-signed upload, and how far that goes."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "alpha uploads the key",
        f"""An UPDATE signed with the very key that it adds. That proves possession of the private half and nothing
        else: the key is known now, and may change nothing yet. (The tour has the look-up that follows take {SLOW:g}
        second, so that there is something to see.)""",
        "draft-ietf-dnsop-delegation-mgmt-via-ddns, bootstrapping",
    )
    alpha = cast.alpha
    operations = [
        Operation(Action.DELETE_RRSET, alpha.name, RRType.KEY),
        Operation(Action.ADD, alpha.name, RRType.KEY, alpha.key.rdata),
    ]
    cast.show_typed("alpha's operator types", operations)
    with stage.tree.slow_key():
        answer = stage.send(cast.update(operations))
        tell.check("the answer is NOERROR", "NOERROR", answer.status)
        cast.ask_state(ReceiverState.BOOTSTRAP_AUTO)
        early = stage.send(cast.update([Operation(Action.DELETE_RRSET, alpha.name, RRType.DS)]))
        tell.show("A change that alpha sends now", f"status: {early.status}, EDE: {early.why}")
        cast.check_refused(early, "REFUSED", DEFAULT.ede_key_known_not_trusted, "under way")
        cast.trusted_line = stage.logged("bootstrap.trusted")


def trusted(cast: Cast) -> None:
    """What zonecut found at alpha's apex."""
    tell = cast.tell
    tell.step(
        "zonecut validates it, and trusts it",
        """zonecut looked up KEY at alpha's apex, and validated the answer itself: the parent's DS, alpha's DNSKEY and
        the signature over KEY make one chain. The key is there, so alpha wants it: no telephone, no ticket.""",
        "RFC 4035 section 5 (validation)",
    )
    line = cast.trusted_line
    tell.show("What zonecut's log says", line, "grep bootstrap.trusted zonecut.log")
    event = json.loads(line)
    tell.check(
        "it is alpha's key, and the method is at-apex",
        (ALPHA, cast.alpha.key.tag, "at-apex"),
        (event["child"], event["key"], event["method"]),
    )
    cast.ask_state(ReceiverState.TRUSTED)


def by_hand(cast: Cast) -> None:
    """beta's key, imported by the operator."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "The operator trusts beta's key by hand",
        """beta is not signed, so nothing proves whose key it is. Then people do: the operator got the file, called beta
        and compared the fingerprint. Keys are kept in zonecut's store, not in the parent zone.""",
        "draft-ietf-dnsop-delegation-mgmt-via-ddns, bootstrapping (manual)",
    )
    key = cast.beta.key
    cast.beta.save(stage.directory / "keys")
    tell.show("beta reads out", key.fingerprint())
    imported = stage.zonecut("key", "import", f"keys/{file_stem(key)}.key", "--trust")
    tell.show("The parent's operator types", imported.output, imported.line)
    listed = stage.zonecut("key", "list")
    tell.show("", listed.output, listed.line)
    tell.check("the imported key has the fingerprint that beta reads out", True, key.fingerprint() in imported.output)
    rows = {line.split()[0]: line.split()[3:5] for line in listed.output.splitlines() if PARENT in line}
    tell.check(
        "two keys are trusted, each by its method",
        {ALPHA: ["trusted", "at-apex"], BETA: ["trusted", "manual"]},
        rows,
    )
