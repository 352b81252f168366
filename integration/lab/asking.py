"""Somebody who asks validating resolvers all the time, and notes each answer that is none."""

import itertools
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode

from lab.ports import LOOPBACK

_EVERY = 0.5
_PATIENCE = 5.0
"""Seconds for which a stub resolver waits for one answer (resolv.conf(5), `timeout`)."""


class Asking:
    """Asks for a host of a zone, and for a name that is new each time, every half second; used as a context manager.

    `ports` are those of the resolvers, by what to call them. `failures` tells of each answer that is neither NOERROR
    nor NXDOMAIN, with the seconds since the beginning.
    """

    def __init__(self, ports: Mapping[str, int], zone: str) -> None:
        self._ports, self._zone = dict(ports), zone
        self.began = time.monotonic()
        self.failures: list[str] = []
        self.secure: dict[str, bool] = {}
        """Whether the last answer of each resolver was validated."""
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(each,), name=f"asking {each}") for each in ports]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self, resolver: str) -> None:
        for number in itertools.count():
            at = time.monotonic()
            for name in (f"www.{self._zone}", f"x{number}.{self._zone}"):
                self._ask(resolver, name)
            if self._ended.wait(max(0.0, at + _EVERY - time.monotonic())):
                return

    def _ask(self, resolver: str, name: str) -> None:
        what = f"{time.monotonic() - self.began:.1f} s: {resolver}: {name}"
        question = dns.message.make_query(name, "A", want_dnssec=True)
        try:
            answer = dns.query.udp(question, LOOPBACK, port=self._ports[resolver], timeout=_PATIENCE)
        except (dns.exception.DNSException, OSError) as error:
            self.failures.append(f"{what}: {error}")
            return
        self.secure[resolver] = bool(answer.flags & dns.flags.AD)
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            why = "; ".join(map(str, answer.extended_errors()))
            self.failures.append(f"{what}: {dns.rcode.to_text(answer.rcode())} {why}")
