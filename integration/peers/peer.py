"""A peer that sends any octets over UDP and TCP, and reads what comes back by its own means (dnspython)."""

import socket
import time
from dataclasses import dataclass
from typing import Self

import dns.edns
import dns.message
import dns.rcode

from lab.ports import LOOPBACK
from lab.process import LabError
from zonecut.net.streams import framed

PATIENCE = 10.0
"""Seconds to wait for an answer that has to come."""


@dataclass(frozen=True)
class Answer:
    """A response as its octets, and what they say."""

    wire: bytes

    @property
    def message(self) -> dns.message.Message:
        """Read as the answer to a query: dnspython refuses that to an UPDATE whose zone section comes back wrong."""
        wire = self.wire[:2] + bytes((self.wire[2] & 0x87,)) + self.wire[3:]
        return dns.message.from_wire(wire, keyring=False)  # a TSIG record is no reason to refuse it

    @property
    def opcode(self) -> int:
        return self.wire[2] >> 3 & 0xF

    @property
    def identity(self) -> int:
        return int.from_bytes(self.wire[:2])

    @property
    def truncated(self) -> bool:
        return bool(self.wire[2] & 0x02)

    @property
    def rcode(self) -> str:
        """The mnemonic of the whole RCODE, the upper bits in the OPT record included. 16 is BADVERS to dnspython."""
        text = dns.rcode.to_text(self.message.rcode())
        return "BADSIG" if text == "BADVERS" else text

    @property
    def edns(self) -> int:
        """The EDNS version, or -1."""
        return self.message.edns

    @property
    def extended_error(self) -> tuple[int, str] | None:
        """INFO-CODE and text of the one extended error."""
        errors = [option for option in self.message.options if isinstance(option, dns.edns.EDEOption)]
        if not errors:
            return None
        (error,) = errors
        return int(error.code), error.text or ""


class UdpPeer:
    """One UDP socket, connected to a server."""

    def __init__(self, port: int, host: str = LOOPBACK) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.connect((host, port))

    def send(self, wire: bytes) -> None:
        self._socket.send(wire)

    def receive(self, timeout: float = PATIENCE) -> Answer | None:
        """The next datagram; None when there is none in time, or nobody listens."""
        self._socket.settimeout(timeout)
        try:
            return Answer(self._socket.recv(65535))
        except (TimeoutError, ConnectionRefusedError):
            return None

    def ask(self, wire: bytes, timeout: float = PATIENCE) -> Answer:
        """Send a message and wait for the answer with its ID. LabError when there is none."""
        self.send(wire)
        deadline = time.monotonic() + timeout
        while (answer := self.receive(max(deadline - time.monotonic(), 0.001))) is not None:
            if answer.wire[:2] == wire[:2]:
                return answer
        raise LabError(f"no answer over UDP within {timeout:g} s to {wire[:64].hex()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


class TcpPeer:
    """One TCP connection to a server."""

    def __init__(self, port: int, host: str = LOOPBACK, *, receive_buffer: int | None = None, source: str = "") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.settimeout(PATIENCE)
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._buffer = b""
        try:
            if source:
                self._socket.bind((source, 0))
            self._socket.connect((host, port))
        except OSError:
            self._socket.close()
            raise

    def send_octets(self, octets: bytes, timeout: float = PATIENCE) -> None:
        self._socket.settimeout(timeout)
        self._socket.sendall(octets)

    def send(self, *messages: bytes) -> None:
        """Send messages, each after its length, all in one go."""
        self.send_octets(b"".join(framed(wire) for wire in messages))

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self._socket.shutdown(socket.SHUT_WR)

    def receive(self, timeout: float = PATIENCE) -> Answer | None:
        """The next message; None when the server has closed the connection. LabError when nothing comes in time."""
        head = self._take(2, timeout)
        body = None if head is None else self._take(int.from_bytes(head), timeout)
        return None if body is None else Answer(body)

    def is_closed(self, timeout: float) -> bool:
        """True as soon as the server has closed the connection, without having sent anything more."""
        self._socket.settimeout(timeout)
        try:
            return not self._buffer and self._socket.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True

    def ask(self, wire: bytes, timeout: float = PATIENCE) -> Answer:
        """Send a message and wait for the next answer. LabError when there is none."""
        self.send(wire)
        answer = self.receive(timeout)
        if answer is None:
            raise LabError("the connection was closed instead of an answer")
        return answer

    def _take(self, count: int, timeout: float) -> bytes | None:
        self._socket.settimeout(timeout)
        while len(self._buffer) < count:
            try:
                octets = self._socket.recv(65536)
            except TimeoutError:
                raise LabError(f"no answer over TCP within {timeout:g} s") from None
            except ConnectionResetError:
                return None
            if not octets:
                return None
            self._buffer += octets
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
