"""Why a server refuses an UPDATE: what the key may write, asked by UPDATEs that can change nothing (RFC 2136).

REFUSED is one answer to four things: a key without the permission, a frozen zone, a name that `check-names` does not
take, and a key that may write some types only. named looks at permissions first, then at prerequisites, and at names
last: an UPDATE whose prerequisite never holds tells them apart.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from zonecut.plugin import BackendError, BackendMisconfigured, BackendRejected, BackendUnavailable
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Rcode, RRType, type_text
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.envelope import Envelope
from zonecut_bind.dialect import Operation
from zonecut_bind.server import Server

_DELEGATION = (RRType.NS, RRType.DS, RRType.A, RRType.AAAA)
_EXAMPLE = b"\x0czonecut-asks"
"""The label of the name that stands for every child before there is one."""
EXAMPLES = 100
"""So many delegations of the zone are looked at for one that the key may write, where the policy grants names."""

Ask = Callable[[Sequence[tuple[bytes, Operation]]], Awaitable[list[Envelope]]]


class Permission:
    """What a key may write in one zone. Its methods raise BackendError where the server cannot be asked."""

    def __init__(self, zone: bytes, server: Server, ask: Ask) -> None:
        self._zone = zone
        self._key = server.key_name
        self._dialect = server.dialect
        self._head = f"{server.dialect.name} answers update with REFUSED"
        self._ask = ask
        self._admitted = False

    async def remarks(self, there: Sequence[Delegation]) -> tuple[str, ...]:
        """What the key lacks to write delegations: the types, and the cure.

        `there` are delegations that the zone has, of which some are looked at: a policy may grant their names alone.
        """
        example = _EXAMPLE + self._zone
        lacking = ""
        if not await self._is_admitted():
            lacking = (
                f"{self._dialect.name} takes no UPDATE of {names.to_text(self._zone)} from the key {self._key}: "
                f"{self._shut()}"
            )
        elif refused := await self._refused((example, rtype) for rtype in _DELEGATION):
            place = f"at names such as {names.to_text(example)}"
            granted = await self._granted(there[:EXAMPLES])
            if granted is not None:
                refused = await self._refused(_places(granted))
                place = f"of {names.to_text(granted.child)}"
            lacking = self._lacks(refused, place) if refused else ""
        return (lacking,) if lacking else ()

    async def _granted(self, there: Sequence[Delegation]) -> Delegation | None:
        """The first of these delegations whose NS the key may write."""
        deletions = [[message.delete_rrset(each.child, RRType.NS)] for each in there]
        answers = await self._ask([(self._never(each), Operation.UPDATE) for each in deletions])
        return next((each for each, got in zip(there, answers, strict=True) if got.rcode != Rcode.REFUSED), None)

    async def refusal(
        self, places: Iterable[tuple[bytes, int]], unfit: str, children: Sequence[bytes] = ()
    ) -> BackendError:
        """The error for an UPDATE of these owners and types to which named answered REFUSED.

        `unfit` are those of its records that it may not like whoever writes them, and `children` whose they are.
        """
        if not await self._is_admitted():
            return self.shut_out()
        places = sorted(set(places))
        if refused := await self._refused(places):
            where = ", ".join(dict.fromkeys(names.to_text(owner) for owner, rtype in places if rtype in refused))
            return BackendMisconfigured(f"{self._head}: {self._lacks(refused, f'at {where}')}")
        if unfit:
            return BackendRejected.telling(f"{self._head}: {self._dialect.unfit}: {unfit}", children)
        return BackendUnavailable(f"{self._head}, and lets the key {self._key} write every RRset of it: see its log")

    def shut_out(self) -> BackendError:
        """The error for REFUSED to an UPDATE that writes nothing."""
        return BackendUnavailable(f"{self._head}: {self._shut()}")

    def _shut(self) -> str:
        """Why nothing is taken. named answers both alike, so a zone that is frozen when we come is waited for, too."""
        return (self._dialect.shut_since if self._admitted else self._dialect.shut).format(key=self._key)

    def _lacks(self, rtypes: Iterable[int], where: str) -> str:
        lacking = ", ".join(type_text(rtype) for rtype in rtypes)
        return f"the key {self._key} may not write {lacking} {where}: {self._dialect.grant}"

    async def _is_admitted(self) -> bool:
        """False if the server takes no UPDATE from the key at all, not even an empty one."""
        (answer,) = await self._ask([(self._never(()), Operation.UPDATE)])
        admitted = answer.rcode != Rcode.REFUSED
        self._admitted |= admitted
        return admitted

    async def _refused(self, places: Iterable[tuple[bytes, int]]) -> list[int]:
        """The types that the key may not write at all of these owners."""
        deletions: dict[int, list[bytes]] = {}
        for owner, rtype in places:
            deletions.setdefault(rtype, []).append(message.delete_rrset(owner, rtype))
        answers = await self._ask([(self._never(each), Operation.UPDATE) for each in deletions.values()])
        return [rtype for rtype, answer in zip(deletions, answers, strict=True) if answer.rcode == Rcode.REFUSED]

    def _never(self, deletions: Sequence[bytes]) -> bytes:
        """An UPDATE that is never carried out: it wants a zone without SOA."""
        return message.update(0, self._zone, [message.rrset_absent(self._zone, RRType.SOA)], deletions)


def _places(delegation: Delegation) -> Iterator[tuple[bytes, int]]:
    """The owners and types of a delegation: addresses where it has name servers of its own."""
    yield from ((delegation.child, rtype) for rtype in (RRType.NS, RRType.DS))
    yield from ((host, rtype) for host in delegation.in_domain_ns() for rtype in (RRType.A, RRType.AAAA))
