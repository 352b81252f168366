"""Which hosts are named by changes that are accepted and not known to be written: those count as well as the zone.

Between a change's acceptance and its write others come, for milliseconds or, where people change the zone, for hours
(PROTOCOL section 8: "before" includes changes that are accepted and not yet published).
"""

from collections.abc import Collection, Mapping, Sequence

from zonecut.protocol import names
from zonecut.receiver.change.released import Released
from zonecut.receiver.writer.write_queue import Pending

Naming = Mapping[bytes, Sequence[bytes]]
"""The children that name a host, by host."""


class Claims:
    """Of one parent zone's accepted changes, until each is settled."""

    def __init__(self) -> None:
        self._pending: dict[int, Pending] = {}

    def add(self, pending: Pending) -> None:
        """A change is accepted."""
        if pending.id not in self._pending and not pending.settled.done():
            self._pending[pending.id] = pending
            pending.settled.add_done_callback(lambda _: self._pending.pop(pending.id, None))

    def naming(self, hosts: Collection[bytes]) -> Naming:
        """The children that come to name these hosts, or go on to; hosts that none of them names are left out."""
        found: dict[bytes, list[bytes]] = {}
        for pending in self._pending.values() if hosts else ():
            for host in pending.change.after.ns:
                if host in hosts:
                    found.setdefault(host, []).append(pending.child)
        return found

    def needed(self, pending: Pending) -> str | None:
        """Why a change is not to be written as it was judged: it leaves a host without address that another one's
        change, accepted since, names. None where nothing is in its way."""
        hosts = {each.host for each in Released.by(pending.change)}
        for host, children in self.naming(hosts).items():
            others = [names.to_text(child) for child in children if child != pending.child]
            if others:
                return f"{names.to_text(host)} is to be named by {others[0]}, whose change is accepted"
        return None

    def affected(self, by: Pending) -> list[Pending]:
        """Those that would take the addresses of a host which this one names."""
        named = set(by.change.after.ns).difference(by.change.before.ns)
        return [
            each
            for each in (self._pending.values() if named else ())
            if each is not by and any(released.host in named for released in Released.by(each.change))
        ]
