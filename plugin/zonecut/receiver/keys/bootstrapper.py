"""Carries keys from known to trusted: attempts that are durable, back off, survive a restart and end with a reason.

A look is due by the clock, ever more seldom. It is made beside that, after a cool-down, when there is a reason to: the
key was uploaded again, the delegation changed, an operator wants it. Such a look costs the child no attempt.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any

import structlog

from zonecut.plugin import BackendError
from zonecut.plugin.bootstrap import BootstrapMethod, Candidate, Conclusion, Finding, Lookups
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.receiver.bounded import Bounded
from zonecut.receiver.duty import Duty
from zonecut.receiver.keys.replacement import EVIDENCE, proven
from zonecut.receiver.keys.retry import Retry
from zonecut.receiver.keys.waiting import Waiting, digest_of
from zonecut.receiver.trouble import Trouble
from zonecut.store import (
    Acceptance,
    Bootstrap,
    InvalidTransition,
    KeyState,
    QuotaExceeded,
    Store,
    StoredKey,
    StoreError,
    Unpublished,
)

CONCURRENT = 16
"""Attempts under way at once."""
POLL = 1.0
"""Seconds between two looks for what is due: another process may have decided something."""
ATTEMPT_LIMIT = 120.0
"""Seconds that one look of one method may take."""
TROUBLE_RETRY = 30.0
"""Seconds after which an attempt that failed through a fault of ours is made again; they double each time."""
TROUBLE_LONGEST = 600.0
STORE_RETRY = 5.0
"""Seconds for which an attempt whose outcome could not be recorded is not made again."""
REMEMBERED = 10_000
"""Keys of which it is remembered how often a fault of ours kept us from looking."""
ACTOR = "zonecut"

_log = structlog.get_logger(__name__)

DelegationOf = Callable[[bytes], Awaitable[Delegation]]
"""What the parent holds for a child now. Raises BackendError."""


class Bootstrapper:
    """The bootstraps of one parent zone's children. `run` it in a task, and `waiting` in another."""

    def __init__(
        self,
        zone: bytes,
        methods: Sequence[tuple[str, BootstrapMethod]],
        manual: bool,
        retry: Retry,
        store: Store,
        lookups: Lookups,
        delegation_of: DelegationOf,
        *,
        max_trusted: int,
        unpublished: Unpublished,
        clock: Callable[[], float],
        jitter: random.Random,
    ) -> None:
        """`methods` are the automatic ones, in the order in which they are tried; `manual`: an operator may decide.

        `max_trusted` keys of a child may be trusted at a time; `unpublished` is for trusted keys that were not
        validated together with a new one.
        """
        self._zone = zone
        self._methods = methods
        self._manual = manual
        self._retry = retry
        self._store = store
        self._lookups = lookups
        self._delegation_of = delegation_of
        self._max_trusted = max_trusted
        self._unpublished = unpublished
        self._clock = clock
        self._jitter = jitter
        self.duty = Duty(zone, "bootstrapper", "keys")
        self.waiting = Waiting(zone, store, delegation_of, retry.cool_down, retry.longest, clock=clock)
        self._work = asyncio.Event()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._troubles: Bounded[int, int] = Bounded(REMEMBERED)
        self._store_away = Trouble("bootstrap.store", zone=names.to_text(zone))
        self._unrecorded = Trouble("bootstrap.unrecorded", zone=names.to_text(zone))

    @property
    def has_automatic_methods(self) -> bool:
        return bool(self._methods)

    def wake(self) -> None:
        """Something may be due."""
        self._work.set()

    async def seen(self, child: bytes, delegation: Delegation) -> None:
        """A delegation was read: where it has changed, keys that wait are looked at again. Raises StoreUnavailable."""
        if self._methods and await self.waiting.seen(child, delegation):
            self.wake()

    async def run(self) -> None:
        """Work until cancelled; what is under way then is taken up again after the next start."""
        with self.duty.on():
            await self._run()

    async def _run(self) -> None:
        try:
            while True:
                self._work.clear()
                try:
                    await self._start_due()
                    await self._give_up_expired()
                    self._store_away.over()
                except StoreError as error:
                    self._store_away.again(error.reason)
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL):
                        await self._work.wait()
        finally:
            tasks = tuple(self._running.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _start_due(self) -> None:
        free = CONCURRENT - len(self._running)
        if free <= 0:
            return
        due = await self._store.bootstraps.due(self._zone, self._clock(), free, self._running.keys())
        for bootstrap in due:
            task = asyncio.create_task(self._attempt(bootstrap))
            self._running[bootstrap.key_id] = task
            task.add_done_callback(partial(self._done, bootstrap.key_id))

    def _done(self, key_id: int, task: "asyncio.Task[None]") -> None:
        del self._running[key_id]
        self._work.set()

    async def _give_up_expired(self) -> None:
        for bootstrap in await self._store.bootstraps.expired(self._zone, self._clock()):
            if bootstrap.key_id not in self._running:
                await self._fail(bootstrap, f"nobody decided in time; the latest attempt: {bootstrap.reason or 'none'}")

    async def _attempt(self, bootstrap: Bootstrap) -> None:
        """One attempt, whatever happens in it."""
        child = names.to_text(bootstrap.owner)
        try:
            await self._look(bootstrap)
            self._unrecorded.over()
        except InvalidTransition as error:
            # somebody decided while we looked
            _log.info("bootstrap.overtaken", child=child, reason=error.reason)
        except BackendError as error:
            # what a server of ours says is for the log: anybody may ask why a key is not trusted yet
            _log.warning("bootstrap.trouble", child=child, reason=error.reason)
            await self._put_off(bootstrap, "the delegation cannot be read now", bootstrap.evidence)
        except StoreError as error:
            self._unrecorded.again(error.reason, child=child)
            # it is due still: without a pause it would be made again at once, and again
            await asyncio.sleep(STORE_RETRY)
        except Exception as error:
            # once with all that belongs to it: it will be the same the next time
            tell = _log.error if bootstrap.key_id in self._troubles else _log.exception
            tell("bootstrap.defect", child=child, error=type(error).__name__)
            await self._put_off(bootstrap, "internal error", bootstrap.evidence)

    async def _put_off(self, bootstrap: Bootstrap, reason: str, evidence: Mapping[str, Any]) -> None:
        """Try again later: a fault of ours is none of the child's, and no attempt is lost."""
        count = self._troubles.get(bootstrap.key_id, 0) + 1
        self._troubles[bootstrap.key_id] = count
        pause = min(TROUBLE_RETRY * 2.0 ** min(count - 1, 60), TROUBLE_LONGEST) * self._jitter.uniform(0.8, 1.0)
        now = self._clock()
        again = now + pause
        seen = replace(bootstrap, looked_at=now, no_ds_since=self.waiting.no_ds_since(bootstrap))
        put_off = replace(seen, reason=reason, evidence=dict(evidence))
        if self._is_beside(bootstrap):
            put_off = replace(put_off, wanted_at=again)
        else:
            put_off = replace(put_off, next_at=again, wanted_at=None)
        try:
            await self._store.bootstraps.progress(put_off, self._retry.cool_down)
        except StoreError as error:
            self._unrecorded.again(error.reason, child=names.to_text(bootstrap.owner))
            await asyncio.sleep(STORE_RETRY)
        except Exception:
            _log.exception("bootstrap.store", zone=names.to_text(self._zone))
            await asyncio.sleep(STORE_RETRY)

    def _is_beside(self, bootstrap: Bootstrap) -> bool:
        """Whether a look that is made now is none of those that are due by the clock."""
        return bootstrap.manual or bootstrap.next_at > self._clock()

    async def _look(self, bootstrap: Bootstrap) -> None:
        """Look once, and draw the conclusion. Raises BackendError, StoreError."""
        stored = await self._store.keys.get(bootstrap.key_id)
        if stored is None or stored.state is not KeyState.KNOWN:
            # somebody decided just now; if there is a row all the same, it is not due at once again
            await self._put_off(bootstrap, bootstrap.reason, bootstrap.evidence)
            return
        is_beside = self._is_beside(bootstrap)
        self.waiting.looks(bootstrap)
        delegation = await self._delegation_of(bootstrap.owner)
        replaced: frozenset[int] = frozenset()
        if (unsettled := self.waiting.unsettled(delegation)) is None:
            others = await self._trusted_others(stored)
            method, finding = await self._examine(bootstrap, stored, delegation, bool(others))
            if finding.conclusion is Conclusion.ACCEPTED:
                replaced = self._replaced(bootstrap, others, finding)
            if replaced:
                earlier = bootstrap.evidence.get(EVIDENCE, {})
                finding = await proven(finding, delegation, self._lookups, earlier, self._clock())
        else:
            # it may be away for a moment: what ends with it ends by proven absence, or when the key's time is over
            method, finding = "", Finding(Conclusion.UNDECIDED, unsettled, is_ours=True)
        if finding.is_ours:
            await self._put_off(bootstrap, finding.reason, finding.evidence)
            return
        self._troubles.pop(bootstrap.key_id, None)
        # what is accepted is what the zone has now, not what it had when the look began
        if finding.conclusion is Conclusion.ACCEPTED:
            if await self._delegation_of(bootstrap.owner) == delegation:
                await self._accept(bootstrap, stored, delegation, method, finding, replaced)
                return
            pause = self._retry.pause(bootstrap.attempts + 1, self._jitter)
            finding = Finding(Conclusion.UNDECIDED, "the delegation changed while it was looked at", again_in=pause)
        await self._conclude(self._looked(bootstrap, delegation), stored, method, finding, is_beside=is_beside)

    def _looked(self, bootstrap: Bootstrap, delegation: Delegation) -> Bootstrap:
        """A bootstrap after a look that was made on this delegation."""
        self.waiting.looked(bootstrap.owner, delegation)
        seen = replace(bootstrap, judged=digest_of(delegation), no_ds_since=self.waiting.no_ds_since(bootstrap))
        return replace(seen, looked_at=self._clock(), wanted_at=None)

    async def _trusted_others(self, stored: StoredKey) -> list[StoredKey]:
        keys = await self._store.keys.find(stored.key.owner)
        return [each for each in keys if each.state is KeyState.TRUSTED and each.id != stored.id]

    def _replaced(self, bootstrap: Bootstrap, others: Sequence[StoredKey], finding: Finding) -> frozenset[int]:
        """The trusted keys that go when this one is accepted."""
        if not bootstrap.replaces and self._unpublished is not Unpublished.SUPERSEDE:
            return frozenset()
        return frozenset(each.id for each in others if each.key.rdata not in finding.validated)

    async def _examine(
        self, bootstrap: Bootstrap, stored: StoredKey, delegation: Delegation, has_trusted: bool
    ) -> tuple[str, Finding]:
        """The first method that accepts; else the finding that says most: one that makes headway, then one that a
        fault of ours kept from saying more, then undecided, then contradicted."""
        evidence = {name: kept for name, kept in bootstrap.evidence.items() if name != EVIDENCE}
        findings: list[tuple[str, Finding]] = []
        for name, method in self._methods:
            if has_trusted and not method.replaces_trusted:
                findings.append((name, Finding(Conclusion.NOT_APPLICABLE, "a key of the child is trusted already")))
                continue
            candidate = Candidate(stored.key, delegation, evidence.get(name, {}), self._clock())
            finding = await self._ask(method, candidate)
            findings.append((name, finding))
            evidence[name] = dict(finding.evidence)
            if finding.conclusion is Conclusion.ACCEPTED:
                return name, finding
        reason = "; ".join(f"{name}: {finding.reason}" for name, finding in findings) or "no method applies"
        for says_most in (_makes_headway, attrgetter("is_ours"), _is_undecided, _is_contradicted):
            for name, finding in findings:
                if says_most(finding):
                    return name, replace(finding, reason=reason, evidence=evidence)
        return "", Finding(Conclusion.NOT_APPLICABLE, reason, evidence=evidence)

    async def _ask(self, method: BootstrapMethod, candidate: Candidate) -> Finding:
        """A method's finding; whatever goes wrong in it is a finding that decides nothing."""
        child = names.to_text(candidate.key.owner)
        try:
            async with asyncio.timeout(ATTEMPT_LIMIT):
                finding = await method.examine(candidate, self._lookups)
        except TimeoutError:
            return Finding(Conclusion.UNDECIDED, f"took longer than {ATTEMPT_LIMIT:.0f} s")
        except Exception:
            _log.exception("bootstrap.defect", child=child, method=type(method).__name__)
            return Finding(Conclusion.UNDECIDED, "internal error")
        if finding.conclusion is Conclusion.ACCEPTED and candidate.key.rdata not in finding.validated:
            _log.error("bootstrap.defect", child=child, method=type(method).__name__, reason=finding.reason)
            return Finding(Conclusion.UNDECIDED, "internal error: accepted without an RRset that holds the key")
        return finding

    async def _accept(
        self,
        bootstrap: Bootstrap,
        stored: StoredKey,
        delegation: Delegation,
        method: str,
        finding: Finding,
        replaced: frozenset[int],
    ) -> None:
        acceptance = Acceptance(
            bootstrap,
            method,
            ACTOR,
            finding.reason,
            delegation,
            finding.validated,
            alone=not dict(self._methods)[method].replaces_trusted,
            max_trusted=self._max_trusted,
            unpublished=self._unpublished,
            replaced=replaced,
        )
        try:
            accepted = await self._store.bootstraps.accept(acceptance)
        except QuotaExceeded as error:
            await self._exhausted(self._looked(bootstrap, delegation), stored, error.reason)
            return
        self._tell("bootstrap.trusted", stored, method=method, reason=finding.reason)
        for other in accepted.unpublished:
            _log.warning(
                "key.unpublished",
                zone=names.to_text(self._zone),
                child=names.to_text(other.key.owner),
                key=other.key.tag,
                trusted_now=stored.key.tag,
                superseded=self._unpublished is Unpublished.SUPERSEDE,
            )

    async def _conclude(
        self, bootstrap: Bootstrap, stored: StoredKey, method: str, finding: Finding, *, is_beside: bool
    ) -> None:
        found = replace(bootstrap, method=method, reason=finding.reason, evidence=dict(finding.evidence))
        if finding.conclusion is Conclusion.NOT_APPLICABLE:
            await self._exhausted(found, stored, finding.reason)
            return
        now = self._clock()
        if finding.again_in is not None:
            found = replace(found, manual=False, next_at=now + finding.again_in)
        elif bootstrap.manual or not is_beside:
            attempts = bootstrap.attempts + 1
            if attempts >= self._retry.attempts:
                await self._exhausted(found, stored, finding.reason)
                return
            pause = self._retry.pause(attempts, self._jitter)
            found = replace(found, manual=False, attempts=attempts, next_at=now + pause)
        await self._store.bootstraps.progress(found, self._retry.cool_down)
        self._tell("bootstrap.attempt", stored, method=method, reason=finding.reason, attempts=found.attempts)

    async def _exhausted(self, bootstrap: Bootstrap, stored: StoredKey, reason: str) -> None:
        current = await self._store.bootstraps.get(bootstrap.key_id)
        if self._manual:
            await self._store.bootstraps.progress(replace(bootstrap, manual=True, reason=reason), self._retry.cool_down)
            self._tell("bootstrap.waits-for-operator", stored, reason=reason, fingerprint=stored.key.fingerprint())
        elif current is not None and current.asked != bootstrap.asked:
            # somebody gave a reason for another look while this one was made
            put_off = replace(bootstrap, reason=reason, next_at=self._clock() + self._retry.cool_down)
            await self._store.bootstraps.progress(put_off, self._retry.cool_down)
        else:
            await self._fail(bootstrap, reason)

    async def _fail(self, bootstrap: Bootstrap, reason: str) -> None:
        stored = await self._store.bootstraps.end(bootstrap.key_id, KeyState.VALIDATION_FAILED, ACTOR, reason)
        if stored.state is KeyState.VALIDATION_FAILED:
            self._tell("bootstrap.failed", stored, reason=reason)

    def _tell(self, event: str, stored: StoredKey, **details: object) -> None:
        _log.info(
            event,
            zone=names.to_text(self._zone),
            child=names.to_text(stored.key.owner),
            key=stored.key.tag,
            **details,
        )


def _makes_headway(finding: Finding) -> bool:
    return _is_undecided(finding) and finding.again_in is not None


def _is_undecided(finding: Finding) -> bool:
    return finding.conclusion is Conclusion.UNDECIDED


def _is_contradicted(finding: Finding) -> bool:
    return finding.conclusion is Conclusion.CONTRADICTED
