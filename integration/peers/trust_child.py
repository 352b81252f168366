"""A child's operator who asks for trust: uploads a key, asks what it is worth, changes the delegation.

Every answer has to be signed by the receiver's key, and is verified here by a few lines of our own.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lab.process import LabError
from peer import Answer, TcpPeer
from signer import NS, Signer
from trust_world import TrustWorld
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import RRType

KEYSTATE = 65002
TRUSTED, UNKNOWN, REFUSED, FAILED, AUTO, MANUAL = 4, 5, 7, 8, 9, 10
NOT_TRUSTED_YET, VALIDATION_FAILED, WAITS_FOR_OPERATOR = 49160, 49161, 49162

_SIGNATURE_OCTETS = 64  # of Ed25519
_KEY = RRType.KEY


@dataclass(frozen=True)
class Told:
    """KEY-STATE and EXTRA-TEXT of a KeyState answer."""

    state: int
    text: str


def assert_signed(response: bytes, request: bytes, signer: str, key: bytes) -> None:
    """RFC 2931 section 3.1: the response ends with a SIG by this Ed25519 key over request and response."""
    name = names.from_text(signer)
    rdlength = 18 + len(name) + _SIGNATURE_OCTETS
    start = len(response) - rdlength - 11
    # root, SIG, class ANY, TTL 0
    assert response[start : start + 11] == b"\0" + b"\0\x18" + b"\0\xff" + bytes(4) + rdlength.to_bytes(2)
    rdata = response[start + 11 :]
    fixed, signature = rdata[:-_SIGNATURE_OCTETS], rdata[-_SIGNATURE_OCTETS:]
    assert fixed[:8] == b"\0\0\x0f\0" + bytes(4)
    expiration, inception = int.from_bytes(fixed[8:12]), int.from_bytes(fixed[12:16])
    assert inception <= time.time() <= expiration
    assert fixed[18:] == name
    count = int.from_bytes(response[10:12]) - 1
    unsigned = response[:10] + count.to_bytes(2) + response[12:start]
    Ed25519PublicKey.from_public_bytes(key[4:]).verify(signature, fixed + request + unsigned)


class TrustChild:
    """The holder of a key, and the parent's receiver as seen from there."""

    def __init__(self, world: TrustWorld, signer: Signer, ns: Sequence[str] = ("ns1", "ns2")) -> None:
        """`ns` is the child's NS RRset, which every change keeps."""
        self.signer = signer
        self._world = world
        self._zone = signer.text.split(".", 1)[1]
        self._ns = ns

    def send(self, wire: bytes) -> Answer:
        """Send over TCP; the answer, which is signed."""
        with TcpPeer(self._world.port) as peer:
            answer = peer.ask(wire)
        assert_signed(answer.wire, wire, f"updater.{self._zone}", self._world.receiver_key(self._zone))
        return answer

    def update(self, *updates: bytes, options: bytes = b"") -> bytes:
        """A signed UPDATE of the parent zone."""
        opt = message.opt_record(options)
        zone = names.from_text(self._zone)
        return self.signer.sign(message.update(secrets.randbits(16), zone, (), updates, [opt]))

    def upload(self, *, replace: bool = True) -> Answer:
        """The self-signed upload of the key, in the form with a deletion or as a single addition."""
        add = message.add(self.signer.owner, _KEY, 60, self.signer.pair.key.rdata)
        return self.send(self.update(*([message.delete_rrset(self.signer.owner, _KEY)] if replace else []), add))

    def ask(self, tag: int | None = None) -> Told:
        """A signed KeyState inquiry; by default about the key that signs it."""
        data = (self.signer.tag if tag is None else tag).to_bytes(2) + b"\2\0"
        opt = message.opt_record(message.option(KEYSTATE, data))
        query = message.query(secrets.randbits(16), self.signer.owner, _KEY, additional=[opt])
        answer = self.send(self.signer.sign(query))
        assert (answer.rcode, answer.message.answer) == ("NOERROR", [])
        (option,) = [each for each in answer.message.options if each.otype == KEYSTATE]
        told = option.to_wire()
        assert told is not None
        assert told[:2] == data[:2]
        assert told[3] == 0
        return Told(told[2], told[4:].decode())

    def change(self) -> Answer:
        """A change that is allowed: the NS RRset with one more name server, which no other change has."""
        return self.send(self.changing())

    def changing(self) -> bytes:
        """The message of `change`."""
        owner = self.signer.owner
        servers = [*(self._absolute(server) for server in self._ns), f"{secrets.token_hex(8)}.plain.test."]
        added = [message.add(owner, NS, 60, names.from_text(server)) for server in servers]
        return self.update(message.delete_rrset(owner, NS), *added)

    def add_key(self, other: Signer) -> Answer:
        """Another key added under this one."""
        return self.send(self.update(message.add(self.signer.owner, _KEY, 60, other.pair.key.rdata)))

    def delete_key(self, other: Signer) -> Answer:
        """A key deleted under this one."""
        return self.send(self.update(message.delete_record(self.signer.owner, _KEY, other.pair.key.rdata)))

    def wait_for(self, state: int, *, since: int | None = None, timeout: float = 10.0) -> Told:
        """What is told once KEY-STATE is that; until then it has to be `since`, if that is given."""
        deadline = time.monotonic() + timeout
        while (told := self.ask()).state != state:
            assert since is None or told.state == since, told
            if time.monotonic() > deadline:
                raise LabError(f"KEY-STATE of {self.signer.text} is {told.state}, not {state}: {told.text}")
            time.sleep(0.05)
        return told

    def _absolute(self, server: str) -> str:
        return server if server.endswith(".") else f"{server}.{self.signer.text}"
