"""A load over UDP: a bounded number of requests is outstanding at any time, whatever gets lost."""

import contextlib
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lab.process import LabError

WINDOW = 256
_NAP = 0.0005
"""Seconds between two looks for answers: the receiver wakes nobody, and never runs dry in the meantime."""
_LOST_AFTER = 1.0
_BUFFER = 4 * 1024 * 1024
_MAX_LOST = 0.02


@dataclass(frozen=True)
class Load:
    """What came of a load. `answered` are answers to requests that were outstanding."""

    answered: int
    seconds: float
    lost: int
    rcodes: Counter[int]
    additional: Counter[int]
    """How many answers had how many records in their additional section: one that is signed has OPT and SIG."""

    @property
    def per_second(self) -> float:
        return self.answered / self.seconds


def closed_loop(
    address: tuple[str, int], requests: Sequence[bytes], seconds: float, *, rcode: int, additional: int | None = None
) -> Load:
    """Send `requests` over and over, for some time. Request number n has n modulo 65535 as its ID.

    Raises LabError when more than a few get lost, or an answer has another RCODE than expected, or another number of
    additional records.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        udp.connect(address)
        udp.setblocking(False)
        load = _run(udp, requests, seconds)
    if set(load.rcodes) != {rcode}:
        raise LabError(f"answers with the RCODEs {dict(load.rcodes)}, not all with {rcode}")
    if additional is not None and set(load.additional) != {additional}:
        raise LabError(f"answers with {dict(load.additional)} additional records, not all with {additional}")
    if load.lost > _MAX_LOST * load.answered:
        raise LabError(f"{load.lost} of {load.lost + load.answered} requests got no answer")
    return load


def _run(udp: socket.socket, requests: Sequence[bytes], seconds: float) -> Load:
    outstanding: set[int] = set()
    rcodes: Counter[int] = Counter()
    additional: Counter[int] = Counter()
    send, receive, total = udp.send, udp.recv, len(requests)
    at = answered = lost = 0
    start = heard = now = time.perf_counter()
    end = start + seconds
    while now < end:
        while len(outstanding) < WINDOW:
            request = requests[at]
            at = (at + 1) % total
            outstanding.add(request[0] << 8 | request[1])
            send(request)
        time.sleep(_NAP)
        before = answered
        with contextlib.suppress(BlockingIOError):
            while True:
                answer = receive(4096)
                identity = answer[0] << 8 | answer[1]
                if identity in outstanding:
                    outstanding.discard(identity)
                    rcodes[answer[3] & 0xF] += 1
                    additional[answer[11]] += 1
                    answered += 1
        now = time.perf_counter()
        if answered != before:
            heard = now
        elif now - heard > _LOST_AFTER:
            lost += len(outstanding)
            outstanding.clear()
            heard = now
    return Load(answered, now - start, lost, rcodes, additional)
