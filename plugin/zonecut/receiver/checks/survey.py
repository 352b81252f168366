"""Every address of every name server of a delegation is asked, and asked again until each has given an answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.foreigntext import clip
from zonecut.receiver.checks.lookups import ServerAddress
from zonecut.resolve import Direct

AT_ONCE = 8
"""Servers of one delegation that are asked at the same time."""
PAUSES = (0.5, 1.0, 2.0)
"""Seconds before those that gave no answer are asked again; then always the last."""
TRIES = 2
"""So often is asked who gives no answer beside one that proves, where one that proves is enough."""
GRACE = 0.2
"""Seconds for which, once one server has said no, the others may still say what they have."""
MAX_TOLD = 3
"""Places that a reason names."""

_NOT_HERE = frozenset((Rcode.NOERROR, Rcode.NXDOMAIN, Rcode.REFUSED, Rcode.NOTAUTH))
"""RCODEs with which a server says, without authority, that the zone is not with it. All others may pass."""


class Looks(Protocol):
    """The world as a check may see it. None of these raises for what anybody answers."""

    async def server_addresses(self, delegation: Delegation) -> Sequence[ServerAddress]:
        """Every address of every name server, and an entry without an address where one is missing."""
        ...

    def may_ask(self, server: ServerAddress) -> bool:
        """False for an address that the parent zone's policy keeps us from."""
        ...

    async def ask(self, server: ServerAddress, name: bytes, rtype: int) -> Direct | None:
        """What a server says itself; None where it has no address."""
        ...


class Conclusion(StrEnum):
    """What was found: at one place, or by a check."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"
    """Nobody can tell now; to ask again may help."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A conclusion and its reason: what was seen where; with PASSED, what is to be noted all the same."""

    conclusion: Conclusion
    reason: str = ""

    def __post_init__(self) -> None:
        # it tells what servers answered
        object.__setattr__(self, "reason", clip(self.reason))


PASSED = Finding(Conclusion.PASSED)

_Asking = asyncio.Task[Finding]
Judge = Callable[[ServerAddress], Awaitable[Finding]]
"""Asks one server and judges what it says."""


def failed(server: ServerAddress, what: str) -> Finding:
    return Finding(Conclusion.FAILED, f"{server} {what}")


async def answer_of(looks: Looks, server: ServerAddress, name: bytes, rtype: int) -> Direct | Finding:
    """What a server answers with authority, or what it means that it does not."""
    if server.address is None:
        return Finding(Conclusion.FAILED if server.certain else Conclusion.UNDECIDED, f"{server}: {server.reason}")
    if not looks.may_ask(server):
        return failed(server, "has an address that is not asked (policy.glue_addresses)")
    direct = await looks.ask(server, name, rtype)
    if direct is None:
        return Finding(Conclusion.UNDECIDED, f"{server}: {server.reason}")
    if direct.is_answer:
        return direct
    if direct.rcode in _NOT_HERE:
        return failed(server, f"is not authoritative for {names.to_text(name)}: {direct.reason}")
    return Finding(Conclusion.UNDECIDED, f"{server}: {direct.reason}")


async def survey(
    looks: Looks, delegation: Delegation, judge: Judge, time_limit: float, *, one_proves: bool = False
) -> Finding:
    """FAILED as soon as one server fails, PASSED when all have passed, UNDECIDED after `time_limit` seconds.

    `one_proves`: PASSED, too, where one has passed and the others have been asked in vain, which is noted.
    """
    state = _Survey(looks, delegation, judge, one_proves=one_proves)
    try:
        async with asyncio.timeout(time_limit):
            return await state.run()
    except TimeoutError:
        if state.failed:
            return state.failure
        if state.is_proven:
            return state.noted
        return Finding(Conclusion.UNDECIDED, f"not known within {time_limit:g} s: {_told(state.open.values())}")


class _Survey:
    def __init__(self, looks: Looks, delegation: Delegation, judge: Judge, *, one_proves: bool) -> None:
        self._one_proves = one_proves
        self._looks = looks
        self._delegation = delegation
        self._judge = judge
        self._passed: set[ServerAddress] = set()
        self._places = asyncio.Semaphore(AT_ONCE)
        self.failed: dict[ServerAddress, str] = {}
        self.open: dict[ServerAddress | None, str] = {None: "the addresses of the name servers were not had"}
        """What is known of each server that has not passed."""

    @property
    def failure(self) -> Finding:
        return Finding(Conclusion.FAILED, _told(self.failed[server] for server in sorted(self.failed, key=str)))

    @property
    def is_proven(self) -> bool:
        """Whether what has passed is enough."""
        return self._one_proves and bool(self._passed)

    @property
    def noted(self) -> Finding:
        return Finding(Conclusion.PASSED, f"not told by all servers: {_told(self.open.values())}")

    async def run(self) -> Finding:
        pauses = iter(PAUSES)
        tries = 0
        addresses: Sequence[ServerAddress] = ()
        while True:
            if not addresses or any(server.address is None for server in addresses):
                addresses = await self._looks.server_addresses(self._delegation)
            asked = [server for server in addresses if server not in self._passed]
            self.open = {server: self.open.get(server, f"{server}: no answer yet") for server in asked}
            await self._round(asked)
            if self.failed:
                return self.failure
            if not self.open:
                return PASSED
            tries += 1
            if self.is_proven and tries >= TRIES:
                return self.noted
            await asyncio.sleep(next(pauses, PAUSES[-1]))

    async def _round(self, asked: Sequence[ServerAddress]) -> None:
        """Ask each server once; end soon after the first one that fails."""
        tasks = {asyncio.create_task(self._ask(server)): server for server in asked}
        try:
            running = set(tasks)
            while running and not self.failed:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                self._note(done, tasks)
            if running:
                done, _ = await asyncio.wait(running, timeout=GRACE)
                self._note(done, tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _note(self, done: set[_Asking], servers: Mapping[_Asking, ServerAddress]) -> None:
        for task in done:
            server, finding = servers[task], task.result()
            self.open[server] = finding.reason
            if finding.conclusion is Conclusion.PASSED:
                self._passed.add(server)
                del self.open[server]
            elif finding.conclusion is Conclusion.FAILED:
                self.failed[server] = finding.reason

    async def _ask(self, server: ServerAddress) -> Finding:
        async with self._places:
            return await self._judge(server)


def _told(reasons: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(reasons))
    more = f"; and at {len(distinct) - MAX_TOLD} more" if len(distinct) > MAX_TOLD else ""
    return "; ".join(distinct[:MAX_TOLD]) + more
