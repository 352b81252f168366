"""The hosts of which it is to be looked at what a change means for them, until that is done. See `aftercare`."""

from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from math import inf

from zonecut.plugin import Host
from zonecut.receiver.change.released import Released


@dataclass(frozen=True, slots=True)
class Gone:
    """The addresses of a host that went with a change of a child, and when that was written, in monotonic seconds."""

    released: Released
    at: float
    is_proven: bool = False
    """It has been seen since that nobody names the host."""

    def is_missed(self, found: Host | None, coming: Collection[bytes] = ()) -> bool:
        """True for a host without addresses that others name, or come to name, than the child that gave them up."""
        if found is None or found.addresses:
            return False
        return any(each != self.released.child for each in (*found.named_by, *coming))


@dataclass(slots=True)
class Unsettled:
    """What is to be looked at."""

    gone: OrderedDict[bytes, Gone] = field(default_factory=OrderedDict)
    """Hosts whose addresses went, by when they did."""
    left: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    """Hosts that may be named by nobody any more, and have addresses still."""
    watched: OrderedDict[bytes, Released] = field(default_factory=OrderedDict)
    """Hosts whose addresses stay, and which somebody may take who was asked for it once; looked at last, they stand
    last."""
    at_once: set[bytes] = field(default_factory=set)
    """Hosts whose addresses went, of which somebody may be known to name one already."""

    def unproven(self, at: float = inf) -> Iterator[tuple[bytes, float]]:
        """Those that went at `at` or before, of which nobody has seen who names them, and when; the oldest first."""
        return ((host, each.at) for host, each in self.gone.items() if not each.is_proven and each.at <= at)

    def forget(self, since: float, at_a_time: int, most: int) -> int:
        """Drop what was proven and went before `since`, and what is too much; how many are given up without proof."""
        gone, left, given_up = self.gone, self.left, 0
        for host in [host for host, each in islice(gone.items(), at_a_time) if each.is_proven and each.at < since]:
            del gone[host]
        while len(gone) > most:
            given_up += not gone.popitem(last=False)[1].is_proven
        for others in (left, self.watched):
            while len(others) > most:
                others.popitem(last=False)
                given_up += 1
        return given_up
