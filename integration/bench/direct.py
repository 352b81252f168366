"""Changes told to a server directly, from prebuilt requests: what the server itself does, whoever asks it."""

import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from bench.traffic.requests import TTLS, ZONE
from bench.traffic.tcp import Connection, check_accepted
from lab.process import LabError
from zonecut.plugin import Change
from zonecut.plugin.dns.tsig import sign
from zonecut.plugin.dns.tsig_key import load_key
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import generic_text
from zonecut_bind import updates
from zonecut_powerdns import bodies
from zonecut_powerdns.content import zone_id

_SILENCE = 60.0
"""Seconds after which a server that does not answer ends a benchmark: in a large zone PowerDNS takes its time."""


class Bare(ABC):
    """A server without zonecut. Enter it to be connected, where connections are kept."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    @abstractmethod
    def prebuilt(self, changes: Sequence[Change], batch: int = 1) -> list[bytes]:
        """Requests that make `batch` of these changes each, all or none; to be told now."""

    @abstractmethod
    def tell(self, request: bytes) -> None:
        """Have one request carried out. LabError unless it succeeds."""

    def tell_all(self, requests: Sequence[bytes]) -> float:
        """Each request after the answer to the one before; the seconds that it took."""
        start = time.perf_counter()
        for request in requests:
            self.tell(request)
        return time.perf_counter() - start


class BareBind(Bare):
    """UPDATEs with prerequisites and TSIG on one kept connection."""

    def __init__(self, address: tuple[str, int], key_file: Path) -> None:
        self._address = address
        self._key = load_key(key_file)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._connection = self._stack.enter_context(Connection(self._address))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def prebuilt(self, changes: Sequence[Change], batch: int = 1) -> list[bytes]:
        return [
            sign(updates.write_message(ZONE, group, TTLS), self._key, place % 0xFFFF).wire
            for place, group in enumerate(_groups(changes, batch))
        ]

    def tell(self, request: bytes) -> None:
        check_accepted(self._connection.ask(request))


class BareKnot(Bare):
    """A transaction on a connection of its own to the control socket: unset what goes, set what comes.

    A request is the number of commands, and what libknot would send for them: units, each with items of a code and a
    length (knot_ctl_send). To each that succeeds knotd answers one octet.
    """

    _DATA, _BLOCK, _END = b"\x01", b"\x03", b"\x00"
    _COMMAND, _ZONE, _OWNER, _TTL, _TYPE, _RDATA = 16, 22, 23, 24, 25, 26

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._zone = names.to_text(ZONE)

    def prebuilt(self, changes: Sequence[Change], batch: int = 1) -> list[bytes]:
        requests = []
        for group in _groups(changes, batch):
            units = [self._unit("begin"), *(unit for change in group for unit in self._edits(change))]
            units.append(self._unit("commit"))
            requests.append(len(units).to_bytes(2) + b"".join(units))
        return requests

    def tell(self, request: bytes) -> None:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(_SILENCE)
            control.connect(self._path)
            control.sendall(request[2:])
            wanted = int.from_bytes(request[:2])
            while wanted:
                answer = control.recv(65536)
                if answer.strip(self._BLOCK) or not answer:
                    raise LabError(f"knotd answers {answer!r}")
                wanted -= len(answer)
            control.sendall(self._END)

    def _edits(self, change: Change) -> Iterator[bytes]:
        for owner, rtype in change.before.rrsets:
            yield self._unit("unset", {self._OWNER: names.to_text(owner), self._TYPE: f"TYPE{rtype}"})
        for owner, rtype, rdata in change.after.records:
            yield self._unit(
                "set",
                {
                    self._OWNER: names.to_text(owner),
                    self._TTL: str(TTLS.of(rtype)),
                    self._TYPE: f"TYPE{rtype}",
                    self._RDATA: generic_text(rdata),
                },
            )

    def _unit(self, command: str, items: Mapping[int, str] | None = None) -> bytes:
        found = {self._COMMAND: f"zone-{command}", self._ZONE: self._zone, **(items or {})}
        data = (bytes((code,)) + len(text).to_bytes(2) + text.encode() for code, text in found.items())
        return self._DATA + b"".join(data) + self._BLOCK


class BarePowerDns(Bare):
    """A PATCH each, on a connection of its own: PowerDNS 4.7 closes it."""

    def __init__(self, url: str, key_file: Path) -> None:
        parts = urlsplit(url)
        self._address = str(parts.hostname), int(parts.port or 80)
        self._head = (
            f"PATCH /api/v1/servers/localhost/zones/{zone_id(ZONE)} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"X-API-Key: {key_file.read_text().strip()}\r\nContent-Type: application/json\r\nContent-Length: "
        )

    def prebuilt(self, changes: Sequence[Change], batch: int = 1) -> list[bytes]:
        requests = []
        for group in _groups(changes, batch):
            body = bodies.patch(item for change in group for item in bodies.replacements(change, TTLS))
            requests.append(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
        return requests

    def tell(self, request: bytes) -> None:
        with socket.create_connection(self._address, timeout=_SILENCE) as connection:
            connection.sendall(request)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        if not answer.startswith(b"HTTP/1.1 204 "):
            raise LabError(f"PowerDNS answers {answer[:300]!r}")


def _groups(changes: Sequence[Change], batch: int) -> list[Sequence[Change]]:
    return [changes[start : start + batch] for start in range(0, len(changes), batch)]
