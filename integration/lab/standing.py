"""A real server whose transfers stand still in the middle, when a test says so: somebody before it who keeps the rest.

What is asked goes through as it is, in both directions.
"""

import socket
import socketserver
import threading
from contextlib import suppress
from struct import Struct
from typing import Self

import dns.message
import dns.rdatatype

from lab.ports import LOOPBACK, free_port

_LENGTH = Struct("!H")
_SOME = 100
"""So many octets of a transfer come."""
_TRANSFERS = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)


class StandingServer:
    """Used as a context manager. `server` is where it listens; a transfer stands still until `goes_on` is set."""

    def __init__(self, port: int) -> None:
        """`port` is that of the real server."""
        self.server = f"{LOOPBACK}:{free_port()}"
        self.goes_on = threading.Event()
        self.goes_on.set()
        self._port = port

    def __enter__(self) -> Self:
        owner = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    owner._relay(self)

        host, _, port = self.server.rpartition(":")
        self._listener = socketserver.ThreadingTCPServer((host, int(port)), Handler)
        self._listener.daemon_threads = True
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.goes_on.set()
        self._listener.shutdown()
        self._listener.server_close()

    def _relay(self, asker: socketserver.StreamRequestHandler) -> None:
        with socket.create_connection((LOOPBACK, self._port)) as behind:
            transfers = threading.Event()
            threading.Thread(target=self._answer, args=(behind, asker.connection, transfers), daemon=True).start()
            while length := asker.rfile.read(_LENGTH.size):
                wire = asker.rfile.read(_LENGTH.unpack(length)[0])
                question = dns.message.from_wire(wire, continue_on_error=True, question_only=True).question
                if question and question[0].rdtype in _TRANSFERS:
                    transfers.set()
                behind.sendall(length + wire)

    def _answer(self, behind: socket.socket, asker: socket.socket, transfers: threading.Event) -> None:
        with suppress(OSError):
            while octets := behind.recv(2**16):
                if transfers.is_set() and not self.goes_on.is_set():
                    asker.sendall(octets[:_SOME])
                    octets = octets[_SOME:]
                    self.goes_on.wait()
                asker.sendall(octets)
