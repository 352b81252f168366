"""Send a message to the receiver over TCP, and what came back."""

import socket
from dataclasses import dataclass

from zonecut.demo.processes import LOOPBACK
from zonecut.demo.report import DemoFailure
from zonecut.net.streams import framed
from zonecut.protocol.codepoints import DEFAULT, EDNS_OPTION_EDE, Rcode
from zonecut.protocol.ede import ExtendedError
from zonecut.protocol.envelope import read_options, walk
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.keys import Key, verifier
from zonecut.protocol.keystate import KeyStateOption
from zonecut.protocol.sig0 import signatures, verify_response

SECONDS = 10.0
"""How long an answer may take."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, its RCODE with the bits that the OPT record holds, and extended error and KeyState, if any."""

    wire: bytes
    rcode: int
    error: ExtendedError | None
    keystate: KeyStateOption | None

    @classmethod
    def of(cls, wire: bytes) -> "Answer":
        """Raises MalformedMessage."""
        envelope = walk(wire)
        options = dict(read_options(envelope.rdata(envelope.opt))) if envelope.opt else {}
        error, state = options.get(EDNS_OPTION_EDE), options.get(DEFAULT.keystate_option)
        return cls(
            wire,
            envelope.rcode,
            None if error is None else ExtendedError.from_data(error),
            None if state is None else KeyStateOption.from_data(state),
        )

    @property
    def status(self) -> str:
        """The RCODE's name. 16 is BADSIG in the answer to a signed request (RFC 8945 section 5.3)."""
        if self.rcode == Rcode.BADSIG:
            return "BADSIG"
        try:
            return Rcode(self.rcode).name
        except ValueError:
            return f"RCODE{self.rcode}"

    @property
    def why(self) -> str:
        """The extended error's code and text; empty if there is none."""
        return f"{self.error.code}: {self.error.text}" if self.error else ""


def is_signed(wire: bytes, key: Key, request: bytes) -> bool:
    """True if a response to this request has a signature by this key, and it verifies. Raises MalformedMessage."""
    found = signatures(walk(wire), DEFAULT.signature_type)
    verify = verifier(key, DEFAULT)
    return any(each.signer == key.owner and verify_response(wire, each, verify, request) for each in found)


def exchange(wire: bytes, port: int) -> Answer:
    """The answer to a message, over a TCP connection of its own (RFC 7766 section 8). Raises DemoFailure."""
    try:
        with socket.create_connection((LOOPBACK, port), SECONDS) as connection:
            connection.sendall(framed(wire))
            length = int.from_bytes(_take(connection, 2))
            return Answer.of(_take(connection, length))
    except (OSError, MalformedMessage) as error:
        raise DemoFailure(f"no usable answer from {LOOPBACK} port {port}: {error}") from error


def _take(connection: socket.socket, count: int) -> bytes:
    octets = b""
    while len(octets) < count:
        more = connection.recv(count - len(octets))
        if not more:
            raise OSError("the connection was closed before the whole answer had come")
        octets += more
    return octets
