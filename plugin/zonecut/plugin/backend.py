"""The Backend interface: how zonecut reads and writes the delegations of one parent zone on an authoritative server."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

from zonecut.plugin.progress import Progress
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, Difference, Ttls, rdata_text
from zonecut.protocol.foreigntext import clip
from zonecut.protocol.rrset import RRset


@dataclass(frozen=True, slots=True)
class Change:
    """One child's delegation as the server is believed to hold it, and as it is to become.

    `identity` is that of the accepted request behind it: the same at every attempt to write it, whatever died in
    between, and no other request's. It is for servers that are to know a repetition when they see one; a change that
    is nobody's request has none.
    """

    before: Delegation
    after: Delegation
    identity: bytes = field(default=b"", compare=False)

    @property
    def child(self) -> bytes:
        return self.after.child

    @property
    def difference(self) -> Difference:
        return Difference.between(self.before, self.after)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a server holds for one name below its zone's apex.

    `enclosing` is the other delegation below which the name lies, if any: nothing of it can be seen, and its holder
    changes nothing. `nested` are other delegations that the server is known to hold below the name: those are occluded,
    and stay as they are whatever becomes of this one.
    `ttls` are those of the delegation's RRsets in seconds, by owner and type, as far as the server tells; they are for
    people to see, and make no difference between two readings.
    """

    delegation: Delegation
    enclosing: bytes | None = None
    nested: tuple[bytes, ...] = ()
    ttls: Mapping[tuple[bytes, int], int] = field(default_factory=dict, compare=False)

    def to_text(self) -> str:
        """The records as lines of a zone file, each with its final newline; without a TTL where it is not known."""
        lines = []
        for owner, rtype, rdata in self.delegation.records:
            ttl = self.ttls.get((owner, rtype), "")
            lines.append(f"{names.to_text(owner)}\t{ttl}\tIN\t{RRType(rtype).text}\t{rdata_text(rtype, rdata)}\n")
        return "".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The value in presentation form; TTLs by owner and type."""
        ttls: dict[str, dict[str, int]] = {}
        for owner, rtype in self.delegation.rrsets:
            if (owner, rtype) in self.ttls:
                ttls.setdefault(names.to_text(owner), {})[RRType(rtype).text] = self.ttls[owner, rtype]
        return {
            **self.delegation.to_json(),
            "ttls": ttls,
            "enclosing": None if self.enclosing is None else names.to_text(self.enclosing),
            "nested": [names.to_text(name) for name in self.nested],
        }


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A delegation that a listing cannot show, since what the server has for it makes no sense.

    `name` is the child's as it stands there, `child` the same as a value where it is one; `reason` is a sentence.
    """

    child: bytes | None
    name: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        return {"child": self.name, "unreadable": self.reason}


MAX_NAMED_BY = 8
"""So many owners of NS records that name a host are told of; that there are more makes no difference to anybody."""


@dataclass(frozen=True, slots=True)
class Host:
    """A name below a zone's apex that NS records may name: the owners of those, and the addresses that stand there.

    `named_by` are children, and the apex where the zone's own NS name it: at most MAX_NAMED_BY of them, so that it is
    empty only where there is none.
    """

    named_by: tuple[bytes, ...] = ()
    addresses: tuple[RR, ...] = ()


class BackendError(Exception):
    """Base of what an adapter raises; `reason` is a sentence for the log and the operator, never for a child."""

    def __init__(self, reason: str) -> None:
        self.reason = clip(reason)
        super().__init__(self.reason)


class BackendUnavailable(BackendError):
    """The server cannot be reached, is busy or broken: the same operation may succeed later."""


class BackendMisconfigured(BackendUnavailable):
    """The server refuses us: credentials, permissions, a zone it does not have. Somebody has to mend it; we retry."""


class BackendConflict(BackendError):
    """The server holds something else than `Change.before`: nothing of the transaction was written.

    `children` names those that differ where the server tells; empty where it does not.
    """

    def __init__(self, reason: str, children: Sequence[bytes] = ()) -> None:
        super().__init__(reason)
        self.children = tuple(children)


class BackendRejected(BackendError):
    """The server will not hold what it was given, now or later: nothing of the transaction was written.

    `children` names those whose changes it is about where the server tells; empty where it does not. `told` is the
    reason in words for the child: about its own records, without paths, addresses and URLs of the parent's side. Where
    it is empty, the child is told that the server does not take it.
    """

    def __init__(self, reason: str, children: Sequence[bytes] = (), *, told: str = "") -> None:
        super().__init__(reason)
        self.children = tuple(children)
        self.told = clip(told)

    @classmethod
    def telling(cls, reason: str, children: Sequence[bytes] = ()) -> "BackendRejected":
        """One whose reason is about the child's records alone: the child is told it as it is."""
        return cls(reason, children, told=reason)


class BackendLater(BackendUnavailable):
    """The server has yet to decide, on its own and without us: nothing of the transaction was written.

    `children` names those that have to wait, and the others may be written without them; empty: all of them wait.
    `again_in` is when to ask again with the same changes, in seconds. `by_hand`: what a person is to do, as input of
    nsupdate, where the reason does not say it.
    """

    def __init__(
        self, reason: str, children: Sequence[bytes] = (), again_in: float = 30.0, *, by_hand: str = ""
    ) -> None:
        super().__init__(reason)
        self.children = tuple(children)
        self.again_in = again_in
        self.by_hand = by_hand


class Withdrawal(StrEnum):
    """What a server says that is to forget a change which it had yet to decide."""

    DROPPED = "dropped"
    """It has not carried the change out, and never will."""
    CARRIED_OUT = "carried-out"
    """It has carried the change out already, and leaves that as it is."""
    UNKNOWN = "unknown"
    """It cannot be told such a thing, and may carry the change out."""


class Backend(ABC):
    """One parent zone on one server.

    All methods are called by one task at a time, except `read`, `unchanged`, `hosts`, `history_number` and `progress`,
    which may overlap.

    Delegations are lower-case wire-form values; an adapter never judges them. It raises subclasses of BackendError
    and nothing else, and never waits for ever: each operation has a time limit of the adapter's own.
    """

    @abstractmethod
    async def open(self) -> None:
        """Make ready: called once before anything else. Raises BackendError; the caller may call it again later."""

    @abstractmethod
    async def close(self) -> None:
        """Release what `open` took; never raises."""

    def remarks(self) -> Sequence[str]:
        """What an operator should know of the server, although it works: sentences that name the cure. Costs nothing.

        Since `open`; the log has them as well.
        """
        return ()

    def by_hand(self, changes: Sequence[Change]) -> str | None:
        """What a person is to do for these changes, as input of nsupdate. Costs nothing, and needs no `open`.

        None, as here, where the adapter writes them itself. One that does not raises BackendLater from `write` until
        the zone holds them.
        """
        return None

    @abstractmethod
    async def read(self, child: bytes) -> Reading:
        """What the server holds for `child` now; a Delegation without NS when it is not delegated."""

    async def unchanged(self, readings: Sequence[Reading]) -> frozenset[bytes]:
        """Those of these children, each another one, for whom the server holds now what was read, in one go.

        NS, DS and glue are certainly the same; whoever is left out may be unchanged as well, and is read by who has to
        know. This one reads each child, all at a time: an adapter does better where one question answers for many.
        """
        found = await asyncio.gather(*(self.read(each.delegation.child) for each in readings), return_exceptions=True)
        for each in found:
            if isinstance(each, BaseException) and not isinstance(each, BackendError):
                raise each
        return frozenset(was.delegation.child for was, now in zip(readings, found, strict=True) if was == now)

    @abstractmethod
    def batch(self, changes: Sequence[Change]) -> int:
        """How many of these, from the first on, fit into one transaction: at least one."""

    @abstractmethod
    async def write(self, changes: Sequence[Change]) -> None:
        """Write these changes of different children in one transaction: all of them or nothing.

        A change touches the owners that it names and no others: NS and DS of the child, and addresses at the owners of
        glue in `before` and `after` and at the name servers in the child of either. What stands at other names below
        the child, an address that no NS of it names, is another delegation's or an operator's.

        Conditional on each `before`, for all but addresses that no NS of `before` names: at the owners that the change
        names, those are replaced by what `after` has there. Raises BackendConflict, BackendRejected, BackendLater or
        BackendUnavailable. After BackendUnavailable it is not known whether the transaction took place. Repeating what
        is already so raises BackendConflict or changes nothing.
        """

    @abstractmethod
    async def verify(self, changes: Sequence[Change]) -> tuple[bytes, ...]:
        """Read back in one go: the children of those changes whose `after` the server does not hold now.

        At the owners that a change names, as for `write`; what stands at others makes no difference.
        """

    async def withdraw(self, change: Change) -> Withdrawal | None:
        """Have the server forget a change that `write` was once called with and that is not wanted any more.

        Only where BackendLater is ever raised: what the server has yet to decide, it may carry out without being asked
        again. None, as here, from one that decides at once. What was carried out stays. Raises BackendUnavailable where
        the server cannot be asked or has no answer yet; it is asked again then, and nothing else of this child before.
        """
        return None

    async def hosts(
        self, hosts: Sequence[bytes], *, not_before: float | None = None, shared: bool = False
    ) -> Mapping[bytes, Host]:
        """Who names each of these hosts below the apex in an NS record, and their addresses.

        As the zone is now, or, where only a listing tells, as it was when one was last worth its cost, with all that
        was written here since. `not_before`: in any case as it was then or later, on the clock of `time.monotonic` in
        seconds, whatever that costs: what is to be given up for good is proven so. `shared`: only those hosts matter
        that others name than the delegations in which they lie; the rest may be left out. This one lists the whole
        zone each time: an adapter does better, by the server's own data or with `zonecut.plugin.naming`.
        """
        naming: dict[bytes, dict[bytes, None]] = {host: {} for host in hosts}
        addresses: dict[bytes, set[RR]] = {host: set() for host in hosts}
        async for reading in self.children():
            if isinstance(reading, Unreadable):
                continue
            for target in naming.keys() & set(reading.delegation.ns):
                naming[target].setdefault(reading.delegation.child)
            for record in reading.delegation.glue:
                if record.owner in addresses:
                    addresses[record.owner].add(record)
        for host in hosts:
            apex = await self._apex_above(host)
            if any(each.rtype == RRType.NS and host in each.rdatas for each in apex):
                naming[host] = {apex[0].owner: None, **naming[host]}
        return {host: Host(tuple(islice(naming[host], MAX_NAMED_BY)), tuple(sorted(addresses[host]))) for host in hosts}

    async def _apex_above(self, host: bytes) -> tuple[RRset, ...]:
        """The RRsets at the apex of the zone in which a host lies."""
        name = host
        while name != names.ROOT:
            name = names.parent(name)
            with suppress(BackendRejected):
                found = await self.read_rrsets([name])
                if any(each.rtype == RRType.SOA for each in found):
                    return found
        return ()

    @abstractmethod
    def children(self) -> AsyncIterator[Reading | Unreadable]:
        """Every delegation of the zone as `read` finds it, in any order, in bounded memory.

        With glue below it that no NS names (orphan glue), which `read` may leave out. One of which the server holds
        what makes no sense stands there as unreadable, and stops no other.
        """

    async def serial(self) -> int | None:
        """The serial of the zone as the server has it (RFC 1982): it rises with whatever is written.

        None, as here, where the server does not tell.
        """
        return None

    async def history_number(self) -> int | None:
        """The number of the last change that is written: `progress` without those who make the zone.

        At least that of each change that `verify` has found before. None where `progress` is None. Nothing that they
        wrote, and no lock of theirs, keeps anybody from knowing it. Raises BackendUnavailable.
        """
        return None

    async def progress(self) -> Progress | None:
        """How far those have come who make the zone of what is written here, at most MAX_CONSUMERS of them.

        None, as here, where what is written is in the zone. Those beyond them are one more, who is as far as the last
        of them. Nothing else waits for it. Raises BackendError, which says what is in the way of knowing that.
        """
        return None

    @abstractmethod
    async def read_rrsets(self, names: Sequence[bytes]) -> tuple[RRset, ...]:
        """The zone's own RRsets at these names, in any order: not what a wildcard or another zone would answer there.

        Without those that a server makes itself to sign the zone (DNSKEY, RRSIG, NSEC, NSEC3 and the like); KEY is
        none of them. Raises BackendRejected for a name that is not in the zone, or lies at or below a delegation.
        """

    @abstractmethod
    async def replace_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        """Replace RRsets of the zone by others in one transaction: all of them or nothing.

        An owner and type that only `before` has is removed, one that only `after` has is made; what neither has stays.
        Conditional on the RDATA of `before`, and on nothing being there where only `after` has something; the TTL is
        set and no condition. Raises as `write` does: BackendConflict without children.
        """


@dataclass(frozen=True, slots=True)
class BackendContext:
    """What an adapter is given beside its options: the parent zone's apex and the TTLs with which to publish.

    `state` is a directory for what has to outlive the process; it may not exist yet, or not be writable. None: there
    is none.
    """

    zone: bytes
    ttls: Ttls
    state: Path | None = None
