"""A server that takes UPDATEs and does not keep to prerequisites: a real one, and before it somebody who drops them.

What is asked and transferred goes through as it is, in both directions.
"""

import socket
import socketserver
import threading
from enum import Enum
from struct import Struct
from typing import Any, Self

import dns.flags
import dns.message
import dns.query
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update

from lab.ports import LOOPBACK, free_port
from zonecut.net.streams import framed

_LENGTH = Struct("!H")


class Carelessness(Enum):
    """Which prerequisites are dropped."""

    VALUES = "values"
    """What an RRset holds (RFC 2136 section 2.4.2). That one is there, or is not, is still looked at."""
    ALL = "all"
    NONE = "none"
    """It has become careful."""


class CarelessServer:
    """Used as a context manager. `server` is where it listens; `carelessness` may be another one from now on."""

    def __init__(self, port: int, key: dns.tsig.Key, carelessness: Carelessness) -> None:
        """`port` is that of the real server."""
        self.server = f"{LOOPBACK}:{free_port()}"
        self._port = port
        self._keyring = {key.name: key}
        self.carelessness = carelessness

    def __enter__(self) -> Self:
        owner = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while length := self.rfile.read(_LENGTH.size):
                    owner._answer(self.rfile.read(_LENGTH.unpack(length)[0]), self.wfile)

        host, _, port = self.server.rpartition(":")
        self._listener = socketserver.ThreadingTCPServer((host, int(port)), Handler)
        self._listener.daemon_threads = True
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown()
        self._listener.server_close()

    def _answer(self, wire: bytes, out: Any) -> None:
        question = dns.message.from_wire(wire, keyring=self._keyring)
        if isinstance(question, dns.update.UpdateMessage):
            self._carry_out(question, out)
            return
        with socket.create_connection((LOOPBACK, self._port)) as behind, behind.makefile("rb") as answers:
            behind.sendall(framed(wire))
            is_transfer = question.question[0].rdtype == dns.rdatatype.AXFR
            soas = 0
            while length := answers.read(_LENGTH.size):
                answer = answers.read(_LENGTH.unpack(length)[0])
                out.write(length + answer)
                parsed = dns.message.from_wire(answer, ignore_trailing=True, continue_on_error=True)
                soas += sum(len(each) for each in parsed.answer if each.rdtype == dns.rdatatype.SOA)
                if not is_transfer or soas > 1 or not parsed.answer:
                    return

    def _carry_out(self, question: dns.update.UpdateMessage, out: Any) -> None:
        update = dns.update.UpdateMessage(question.zone[0].name, keyring=self._keyring)
        update.sections[2] = question.sections[2]
        if self.carelessness is not Carelessness.ALL:
            values = self.carelessness is Carelessness.NONE
            update.sections[1] = [each for each in question.sections[1] if values or each.deleting is not None]
        said = dns.query.tcp(update, LOOPBACK, port=self._port)
        answer = dns.message.make_response(question)
        answer.set_rcode(said.rcode())
        wire = answer.to_wire()
        out.write(framed(wire))
