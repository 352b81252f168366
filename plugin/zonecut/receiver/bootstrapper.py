"""Carries keys from known to trusted: attempts that are durable, back off, survive a restart and end with a reason."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import structlog

from zonecut.plugin import BackendError
from zonecut.plugin.bootstrap import BootstrapMethod, Candidate, Conclusion, Finding, Lookups
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.store import Bootstrap, InvalidTransition, KeyState, Store, StoredKey, StoreError

CONCURRENT = 16
"""Attempts under way at once."""
POLL = 1.0
"""Seconds between two looks for what is due: another process may have decided something."""
ATTEMPT_LIMIT = 120.0
"""Seconds that one attempt may take."""
ACTOR = "zonecut"

_log = structlog.get_logger(__name__)

DelegationOf = Callable[[bytes], Awaitable[Delegation]]
"""What the parent holds for a child now. Raises BackendError."""


@dataclass(frozen=True, slots=True)
class Retry:
    """When to try again, and when to give up; times in seconds."""

    first: float
    longest: float
    attempts: int

    def pause(self, attempts: int, jitter: random.Random) -> float:
        """The pause after so many failed attempts."""
        return min(self.first * 2.0 ** min(attempts - 1, 60), self.longest) * jitter.uniform(0.8, 1.0)


class Bootstrapper:
    """The bootstraps of one parent zone's children. `run` it in a task."""

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
        clock: Callable[[], float],
        jitter: random.Random,
    ) -> None:
        """`methods` are the automatic ones, in the order in which they are tried; `manual`: an operator may decide."""
        self._zone = zone
        self._methods = methods
        self._manual = manual
        self._retry = retry
        self._store = store
        self._lookups = lookups
        self._delegation_of = delegation_of
        self._clock = clock
        self._jitter = jitter
        self._work = asyncio.Event()
        self._running: dict[int, asyncio.Task[None]] = {}

    @property
    def has_automatic_methods(self) -> bool:
        return bool(self._methods)

    def wake(self) -> None:
        """Something may be due."""
        self._work.set()

    async def run(self) -> None:
        """Work until cancelled; what is under way then is taken up again after the next start."""
        try:
            while True:
                self._work.clear()
                try:
                    await self._start_due()
                    await self._give_up_expired()
                except StoreError as error:
                    _log.error("bootstrap.store", zone=names.to_text(self._zone), reason=error.reason)
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL):
                        await self._work.wait()
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

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
        try:
            stored = await self._store.keys.get(bootstrap.key_id)
            if stored is not None and stored.state is KeyState.KNOWN:
                method, finding = await self._look(bootstrap, stored)
                await self._conclude(bootstrap, stored, method, finding)
        except InvalidTransition as error:
            # somebody decided while we looked
            _log.info("bootstrap.overtaken", child=names.to_text(bootstrap.owner), reason=error.reason)
        except StoreError as error:
            _log.error("bootstrap.store", zone=names.to_text(self._zone), reason=error.reason)

    async def _look(self, bootstrap: Bootstrap, stored: StoredKey) -> tuple[str, Finding]:
        """A method and its finding; an error of any kind is a finding that decides nothing."""
        try:
            async with asyncio.timeout(ATTEMPT_LIMIT):
                delegation = await self._delegation_of(bootstrap.owner)
                if not delegation.is_delegated:
                    return "", Finding(Conclusion.NOT_APPLICABLE, "the child is not delegated")
                others = await self._trusted_others(stored)
                return await self._examine(bootstrap, stored, delegation, bool(others))
        except TimeoutError:
            reason = f"took longer than {ATTEMPT_LIMIT:.0f} s"
        except BackendError as error:
            reason = f"the delegation cannot be read: {error.reason}"
        except StoreError:
            raise
        except Exception:
            _log.exception("bootstrap.defect", child=names.to_text(bootstrap.owner))
            reason = "internal error"
        return bootstrap.method, Finding(Conclusion.UNDECIDED, reason)

    async def _trusted_others(self, stored: StoredKey) -> list[StoredKey]:
        keys = await self._store.keys.find(stored.key.owner)
        return [each for each in keys if each.state is KeyState.TRUSTED and each.id != stored.id]

    async def _examine(
        self, bootstrap: Bootstrap, stored: StoredKey, delegation: Delegation, has_trusted: bool
    ) -> tuple[str, Finding]:
        """The first method that accepts; else the finding that says most: undecided before contradicted."""
        evidence = dict(bootstrap.evidence)
        findings: list[tuple[str, Finding]] = []
        for name, method in self._methods:
            if has_trusted and not method.replaces_trusted:
                findings.append((name, Finding(Conclusion.NOT_APPLICABLE, "a key of the child is trusted already")))
                continue
            candidate = Candidate(stored.key, delegation, evidence.get(name, {}), self._clock())
            finding = await method.examine(candidate, self._lookups)
            findings.append((name, finding))
            evidence[name] = dict(finding.evidence)
            if finding.conclusion is Conclusion.ACCEPTED:
                return name, finding
        reason = "; ".join(f"{name}: {finding.reason}" for name, finding in findings) or "no method applies"
        for conclusion in (Conclusion.UNDECIDED, Conclusion.CONTRADICTED):
            for name, finding in findings:
                if finding.conclusion is conclusion:
                    return name, replace(finding, reason=reason, evidence=evidence)
        return "", Finding(Conclusion.NOT_APPLICABLE, reason, evidence=evidence)

    async def _conclude(self, bootstrap: Bootstrap, stored: StoredKey, method: str, finding: Finding) -> None:
        now = self._clock()
        if finding.conclusion is Conclusion.ACCEPTED:
            keep = finding.validated if bootstrap.replaces else None
            alone = not dict(self._methods)[method].replaces_trusted
            await self._store.bootstraps.accept(stored.id, method, ACTOR, finding.reason, keep=keep, alone=alone)
            self._tell("bootstrap.trusted", stored, method=method, reason=finding.reason)
            return
        if finding.conclusion is Conclusion.NOT_APPLICABLE:
            await self._exhausted(bootstrap, stored, finding.reason)
            return
        if finding.again_in is not None:
            attempts, pause = bootstrap.attempts, finding.again_in
        else:
            attempts = bootstrap.attempts + 1
            if attempts >= self._retry.attempts:
                await self._exhausted(bootstrap, stored, finding.reason)
                return
            pause = self._retry.pause(attempts, self._jitter)
        await self._store.bootstraps.progress(
            replace(
                bootstrap,
                method=method,
                attempts=attempts,
                reason=finding.reason,
                evidence=dict(finding.evidence),
                next_at=now + pause,
            )
        )
        self._tell("bootstrap.attempt", stored, method=method, reason=finding.reason, attempts=attempts)

    async def _exhausted(self, bootstrap: Bootstrap, stored: StoredKey, reason: str) -> None:
        if self._manual:
            await self._store.bootstraps.progress(replace(bootstrap, manual=True, reason=reason))
            self._tell("bootstrap.waits-for-operator", stored, reason=reason, fingerprint=stored.key.fingerprint())
        else:
            await self._fail(bootstrap, reason)

    async def _fail(self, bootstrap: Bootstrap, reason: str) -> None:
        stored = await self._store.bootstraps.end(bootstrap.key_id, KeyState.VALIDATION_FAILED, ACTOR, reason)
        self._tell("bootstrap.failed", stored, reason=reason)

    def _tell(self, event: str, stored: StoredKey, **details: object) -> None:
        _log.info(
            event,
            zone=names.to_text(self._zone),
            child=names.to_text(stored.key.owner),
            key=stored.key.tag,
            **details,
        )
