"""Real secondaries on loopback, and who tells them that their zone has changed: soon, or late."""

import base64
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig

from lab.daemons.server import Server
from lab.ports import LOOPBACK
from lab.process import Process, unconfined

_PORT = 53
_EVERY = 0.05


class Secondary(Process):
    """A knotd that has one zone from its primary and serves it at an address, port 53.

    It asks the primary when it is started, and then when somebody tells it to by NOTIFY: the SOA record should have a
    refresh that is longer than the test. `key` signs the transfers.
    """

    def __init__(
        self, directory: Path, address: str, zone: str, primary: Server, key: dns.tsig.Key | None = None
    ) -> None:
        directory.mkdir()
        self.address, self.zone = address, zone
        keys = by_key = ""
        if key is not None:
            secret = base64.b64encode(key.secret).decode()
            keys = f"key:\n  - id: {key.name}\n    algorithm: hmac-sha256\n    secret: {secret}\n"
            by_key = f"    key: {key.name}\n"
        configuration = directory / "knot.conf"
        configuration.write_text(f"""\
server:
  listen: {address}@{_PORT}
  rundir: "{directory}"
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: "{directory}"
log:
  - target: stderr
    any: info
{keys}remote:
  - id: primary
    address: {LOOPBACK}@{primary.port}
{by_key}acl:
  - id: told
    address: {LOOPBACK}
    action: notify
template:
  - id: default
    storage: "{directory}"
zone:
  - domain: "{zone}"
    master: primary
    acl: told
    zonefile-sync: -1
    journal-content: none
    semantic-checks: off
""")
        super().__init__(
            [unconfined("knotd", directory), "-c", configuration],
            name="knotd",
            directory=directory,
            ready=lambda: serial_at(address, zone) is not None,
        )

    def notify(self) -> None:
        """Tell it that the zone has changed (RFC 1996)."""
        message = dns.message.make_query(self.zone, "SOA")
        message.set_opcode(dns.opcode.NOTIFY)
        message.flags = (message.flags & ~dns.flags.RD) | dns.flags.AA
        dns.query.tcp(message, self.address, port=_PORT, timeout=5)


class Messenger:
    """Tells secondaries of each change of the primary, each so many seconds after it; used as a context manager.

    What changes meanwhile goes along.
    """

    def __init__(self, primary: Server, zone: str, secondaries: Mapping[Secondary, float]) -> None:
        self._primary, self._zone = primary, zone
        self._secondaries = dict(secondaries)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="messenger")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        due: dict[Secondary, float] = {}
        while not self._ended.wait(_EVERY):
            serial = serial_at(LOOPBACK, self._zone, self._primary.port)
            now = time.monotonic()
            for secondary, delay in self._secondaries.items():
                if serial is None or serial == serial_at(secondary.address, self._zone):
                    due.pop(secondary, None)
                elif due.setdefault(secondary, now + delay) <= now:
                    # once more in a while if it does not fetch the zone
                    due[secondary] = now + max(delay, 1)
                    secondary.notify()


def serial_at(address: str, zone: str, port: int = _PORT) -> int | None:
    """The serial of a zone at a server; None while it does not answer for it."""
    question = dns.message.make_query(zone, "SOA")
    try:
        answer = dns.query.tcp(question, address, port=port, timeout=2)
    except (dns.exception.DNSException, OSError, EOFError):
        return None
    if answer.rcode() != dns.rcode.NOERROR or not answer.answer or answer.answer[0].rdtype != dns.rdatatype.SOA:
        return None
    return int(str(answer.answer[0][0]).split()[2])
