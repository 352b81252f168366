"""A receiver that does not behave: UDP and TCP on loopback, a SIG(0) key of its own, and a record of what came.

What it answers is told by `lab.scripted.behaviours`, which can be changed while it runs. It stands where a DSYNC
record points to, in tests of those who talk to receivers; never in for a real one in a test that is about that.
"""

import socketserver
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from lab.ports import LOOPBACK, free_port
from lab.process import LabError, until
from signer import Signer
from zonecut.net.streams import framed
from zonecut.protocol import message
from zonecut.protocol.codepoints import DEFAULT, Opcode
from zonecut.protocol.envelope import HEADER_LENGTH, Envelope, walk
from zonecut.protocol.flags import QUERY_RESPONSE, RECURSION_DESIRED
from zonecut.protocol.keys import KeyPair
from zonecut.protocol.sig0 import sign_response, signatures

_KEPT = 0xF << 11 | RECURSION_DESIRED


@dataclass(frozen=True)
class Received:
    """A message that came."""

    wire: bytes
    transport: str
    at: float = field(default_factory=time.monotonic)

    @property
    def envelope(self) -> Envelope:
        return walk(self.wire)

    @property
    def is_update(self) -> bool:
        return self.wire[2] >> 3 & 0xF == Opcode.UPDATE

    @property
    def signer(self) -> tuple[bytes, int] | None:
        """Name and key tag in its signature, which nobody has verified."""
        found = signatures(self.envelope, DEFAULT.signature_type)
        return (found[-1].signer, found[-1].key_tag) if found else None


@dataclass(frozen=True)
class Reply:
    """What goes back: a response that is still to be signed, or octets as they are."""

    rcode: int = 0
    options: bytes = b""
    """EDNS options; without an OPT record in the request there is none in the response."""
    flags: int = 0
    signed: bool = True
    form: str = "rfc2931"
    """Or `message-only`: over the response alone."""
    signer: KeyPair | None = None
    """Who signs instead of the receiver."""
    age: float = 0
    """Seconds since when the signature is made, at most 300 of which it is valid."""
    octets: bytes | None = None
    framed: bool = True
    """Over TCP, a length stands before the octets."""
    delay: float = 0
    """Seconds before it goes."""
    drip: float = 0
    """Over TCP, seconds between two octets."""

    def render(self, request: bytes, own: KeyPair) -> bytes:
        """The message."""
        if self.octets is not None:
            return self.octets
        asked = walk(request)
        flags = QUERY_RESPONSE | asked.flags & _KEPT | self.flags | self.rcode & 0xF
        opt = message.opt_record(self.options, flags=self.rcode >> 4 << 24) if asked.opt else b""
        head = asked.id.to_bytes(2) + flags.to_bytes(2) + len(asked.questions).to_bytes(2) + bytes(4)
        question = request[HEADER_LENGTH : asked.questions[-1].end] if asked.questions else b""
        wire = head + (1 if opt else 0).to_bytes(2) + question + opt
        if not self.signed:
            return wire
        now = int(time.time() - self.age)
        covered = request if self.form == "rfc2931" else b""
        return sign_response(
            wire, self.signer or own, now - 300, now + 300, request=covered, signature_type=DEFAULT.signature_type
        )


Manner = Callable[[Received], Sequence[Reply]]
"""What is answered to a message: nothing, or one thing after the other."""


class HostileReceiver:
    """Answers at one port of an address for UDP and TCP; used as a context manager.

    `target` is its name, and the owner of the key with which it signs.
    """

    def __init__(self, target: str, manner: Manner, *, address: str = LOOPBACK, key: Signer | None = None) -> None:
        self.target = target
        self.address = address
        self.port = free_port(address)
        self.key = key or Signer.generate(target)
        self.received: list[Received] = []
        self._manner = manner
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._servers: list[socketserver.BaseServer] = []

    def play(self, manner: Manner) -> None:
        """Behave like this from the next message on."""
        self._manner = manner

    @property
    def updates(self) -> list[Received]:
        """The UPDATEs that came."""
        return [each for each in self.received if each.is_update]

    @property
    def inquiries(self) -> list[Received]:
        """All other messages that came."""
        return [each for each in self.received if not each.is_update]

    def wait_for(self, count: int, timeout: float = 10.0) -> list[Received]:
        """All that came, once that is so many."""
        until(lambda: len(self.received) >= count, timeout=timeout, what=f"{count} messages at {self.target}")
        return self.received

    def answer(self, wire: bytes, transport: str) -> list[tuple[Reply, bytes]]:
        """What is sent back to a message, which is noted."""
        with self._lock:
            received = Received(wire, transport)
            self.received.append(received)
            return [(reply, reply.render(wire, self.key.pair)) for reply in self._manner(received)]

    def pause(self, seconds: float) -> bool:
        """Wait; True if the receiver is to end."""
        return self._closing.wait(seconds) if seconds else self._closing.is_set()

    def __enter__(self) -> Self:
        try:
            self._servers.append(_Udp(self, _Datagram))
            self._servers.append(_Tcp(self, _Stream))
        except OSError as error:
            self._stop()
            raise LabError(f"{self.target} cannot listen at {self.address} port {self.port}: {error}") from None
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        for server in self._servers:
            server.shutdown()
        self._stop()

    def _stop(self) -> None:
        for server in self._servers:
            server.server_close()


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, receiver: HostileReceiver, handler: type[socketserver.BaseRequestHandler]) -> None:
        self.receiver = receiver
        super().__init__((receiver.address, receiver.port), handler)


class _Udp(socketserver.ThreadingUDPServer):
    daemon_threads = True
    block_on_close = False
    max_packet_size = 65535

    def __init__(self, receiver: HostileReceiver, handler: type[socketserver.BaseRequestHandler]) -> None:
        self.receiver = receiver
        super().__init__((receiver.address, receiver.port), handler)


class _Datagram(socketserver.BaseRequestHandler):
    server: _Udp
    request: tuple[bytes, Any]

    def handle(self) -> None:
        receiver, (wire, socket) = self.server.receiver, self.request
        for reply, octets in receiver.answer(wire, "udp"):
            if receiver.pause(reply.delay):
                return
            with suppress(OSError):
                socket.sendto(octets, self.client_address)


class _Stream(socketserver.StreamRequestHandler):
    server: _Tcp

    def handle(self) -> None:
        with suppress(OSError):
            while len(length := self.rfile.read(2)) == 2:
                wire = self.rfile.read(int.from_bytes(length))
                replies = self.server.receiver.answer(wire, "tcp")
                if not replies:
                    # silence keeps the connection open
                    continue
                if not all(self._send(reply, octets) for reply, octets in replies):
                    return

    def _send(self, reply: Reply, octets: bytes) -> bool:
        receiver = self.server.receiver
        if receiver.pause(reply.delay):
            return False
        if reply.framed:
            octets = framed(octets)
        if not reply.drip:
            self.wfile.write(octets)
            return bool(octets)
        for at in range(len(octets)):
            self.wfile.write(octets[at : at + 1])
            if receiver.pause(reply.drip):
                return False
        return True
