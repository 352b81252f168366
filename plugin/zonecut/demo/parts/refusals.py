"""The tour's last part: what is refused, what is not done twice, and how trust ends (steps 11 to 15)."""

import time

from zonecut.demo.cast import Cast
from zonecut.demo.child import below, next_ds, replace
from zonecut.demo.servers.authority import ALPHA, BETA
from zonecut.protocol import names
from zonecut.protocol.codepoints import EdeCode, ReceiverState, RRClass, RRType
from zonecut.protocol.envelope import UPDATE, walk
from zonecut.protocol.update import Action, Operation

REVOKED_WITHIN = 1.0
"""Seconds after which a revoked key works nowhere any more."""
_EVIL = "ns.attacker.example."


def forged(cast: Cast) -> None:
    """An attacker's key, and one flipped bit."""
    tell, stage = cast.tell, cast.stage
    zone, serial = stage.records(), stage.serial()
    tell.step(
        "Forged changes",
        """First, an attacker signs with a key of his own and says that he is alpha. Then somebody on the way flips one
        bit in a change that beta signed. Both RCODEs are above 15 and need EDNS; a request without it is told
        NOTAUTH.""",
        "RFC 8945 section 5.2 (BADKEY, BADSIG)",
        "RFC 6891 section 6.1.3 (extended RCODE)",
    )
    hijack = replace(cast.attacker.name, RRType.NS, names.from_text(_EVIL), names.from_text(f"2.{_EVIL}"))
    cast.show_typed("The attacker types", hijack, cast.attacker)
    wire = cast.update(hijack, cast.attacker)
    answer = stage.send(wire)
    cast.show_answer(answer)
    cast.check_refused(answer, "BADKEY", None)

    genuine = cast.update(replace(below("ns1", cast.beta.name), RRType.A, bytes((198, 51, 100, 54))))
    wire = _flip(genuine)
    answer = stage.send(wire)
    tell.say("Now the flipped bit: beta signed 198.51.100.54, and what arrives says 198.51.100.55:")
    cast.show_answer(answer)
    cast.check_refused(answer, "BADSIG", None)
    cast.check_zone(zone, serial)


def _flip(wire: bytes) -> bytes:
    """The message with the last bit of the address that it adds turned over."""
    envelope = walk(wire)
    added = [record for record in envelope.section(UPDATE) if record.rclass == RRClass.IN]
    octets = bytearray(wire)
    octets[added[-1].end - 1] ^= 1
    return bytes(octets)


def against_policy(cast: Cast) -> None:
    """Genuine, trusted, and still not to be had."""
    tell, stage = cast.tell, cast.stage
    zone, serial = stage.records(), stage.serial()
    tell.step(
        "Genuine changes that break the parent's rules",
        """A trusted key may still ask for nonsense. zonecut judges the delegation as it would become, and tells a
        child that has proved who it is which record broke which rule.""",
        "RFC 8914 section 2 (extended errors), code 18 (Prohibited)",
    )
    beta, ns3 = cast.beta.name, below("ns3", cast.beta.name)
    requests = (
        ("sha1", "beta sends a DS with a SHA-1 digest (RFC 8624 section 3.3: must not)", "ds-digest",
         replace(beta, RRType.DS, next_ds(beta, 1)), "digest type 1"),
        ("no-glue", "beta adds a name server inside beta without its address (RFC 9471)", "glue-for-ns",
         [Operation(Action.ADD, beta, RRType.NS, ns3)], f"ns3.{BETA}"),
    )  # fmt: skip
    for name, title, rule, operations, says in requests:
        wire = cast.update(operations)
        cast.show_typed(title, operations)
        answer = stage.send(wire)
        cast.show_answer(answer)
        if name == "sha1":
            cast.explain(wire, name)
        cast.check_refused(answer, "REFUSED", EdeCode.PROHIBITED, says)
        cast.refused.append((BETA, rule))
    cast.check_zone(zone, serial)


def strangers_child(cast: Cast) -> None:
    """beta at alpha's door."""
    tell, stage = cast.tell, cast.stage
    zone, serial = stage.records(), stage.serial()
    tell.step(
        "beta tries to change alpha",
        """A child's key is good for that child: each name in the message must be the signer's own or lie below it. No
        configuration grants more.""",
        "draft-ietf-dnsop-delegation-mgmt-via-ddns",
        "RFC 3007 section 3 (policy)",
    )
    operations = replace(names.from_text(ALPHA), RRType.NS, below("ns1", cast.beta.name), below("ns2", cast.beta.name))
    cast.show_typed("beta's request", operations)
    answer = stage.send(cast.update(operations))
    cast.show_answer(answer)
    cast.check_refused(answer, "REFUSED", EdeCode.PROHIBITED, ALPHA)
    cast.refused.append((BETA, "owner-is-child"))
    cast.check_zone(zone, serial)


def replayed(cast: Cast) -> None:
    """The accepted change once more."""
    tell, stage = cast.tell, cast.stage
    zone, serial = stage.records(), stage.serial()
    tell.step(
        "The accepted change, sent again",
        """The very octets of step 10 again: from a client that never saw the answer, or from somebody who recorded
        them. The answer is the same and nothing is done, for zonecut remembers what it accepted while a signature
        counts.""",
        "RFC 2931 section 3.3 (lifetime)",
        "RFC 2136 section 5 (duplicates)",
    )
    answer = stage.send(cast.change)
    cast.show_answer(answer)
    tell.check("the answer is NOERROR", "NOERROR", answer.status)
    cast.check_zone(zone, serial)


def revoked(cast: Cast) -> None:
    """The end of the trust."""
    tell, stage = cast.tell, cast.stage
    zone, serial = stage.records(), stage.serial()
    tell.step(
        "The operator revokes the key",
        f"""The laptop with beta's key is lost. Within {REVOKED_WITHIN:g} second of `key revoke` the key is worth
        nothing, for good, without a restart. The delegation stays as it is; to change it, beta brings a new key.""",
        "draft-ietf-dnsop-delegation-mgmt-via-ddns",
    )
    keyid = str(cast.beta.key.tag)
    done = stage.receiver.run("key", "revoke", BETA, "--keyid", keyid, "--reason", "lost")
    since = time.monotonic()
    tell.show("", done.output, done.line)
    tell.check("the command says that it is revoked", True, "revoked" in done.output)
    time.sleep(max(0.0, REVOKED_WITHIN - (time.monotonic() - since)))
    operations = replace(below("ns1", cast.beta.name), RRType.A, bytes((203, 0, 113, 66)))
    cast.show_typed(f"{REVOKED_WITHIN:g} second later, whoever has the laptop tries", operations)
    wire = cast.update(operations)
    answer = stage.send(wire)
    cast.show_answer(answer)
    cast.check_refused(answer, "REFUSED", EdeCode.PROHIBITED, "revoked")
    cast.ask_state(ReceiverState.REFUSED)
    cast.check_zone(zone, serial)
