"""Changes told to named directly, as the adapter would: UPDATEs with prerequisites, prebuilt and signed with TSIG."""

import time
from collections.abc import Sequence

from bench.requests import TTLS, ZONE
from bench.tcp import Connection, check_accepted
from zonecut.plugin import Change
from zonecut.plugin.tsig import sign
from zonecut.plugin.tsigkey import TsigKey
from zonecut_bind import updates


def prebuilt(changes: Sequence[Change], key: TsigKey, batch: int = 1) -> list[bytes]:
    """Messages of `batch` changes each, signed now."""
    groups = [changes[start : start + batch] for start in range(0, len(changes), batch)]
    return [
        sign(updates.write_message(ZONE, group, TTLS), key, place % 0xFFFF).wire for place, group in enumerate(groups)
    ]


def send_all(connection: Connection, messages: Sequence[bytes]) -> float:
    """Send each message after the answer to the one before; the seconds that it took. LabError unless all succeed."""
    start = time.perf_counter()
    for wire in messages:
        check_accepted(connection.ask(wire))
    return time.perf_counter() - start
