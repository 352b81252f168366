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
"""Seconds that one look of one method may take."""
BACKEND_RETRY = 30.0
"""Seconds after which a delegation that could not be read is asked for again."""
STORE_RETRY = 5.0
"""Seconds for which an attempt whose outcome could not be recorded is not made again."""
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
            # it is due still: without a pause it would be made again at once, and again
            await asyncio.sleep(STORE_RETRY)

    async def _look(self, bootstrap: Bootstrap, stored: StoredKey) -> tuple[str, Finding]:
        """A method and its finding."""
        try:
            delegation = await self._delegation_of(bootstrap.owner)
        except BackendError as error:
            # that is no fault of the child's: what was found before stands, and no attempt is lost
            reason = f"the delegation cannot be read: {error.reason}"
            kept = bootstrap.evidence
            return bootstrap.method, Finding(
                Conclusion.UNDECIDED, reason, evidence=kept, again_in=BACKEND_RETRY * self._jitter.uniform(0.8, 1.0)
            )
        if not delegation.is_delegated:
            return "", Finding(Conclusion.NOT_APPLICABLE, "the child is not delegated")
        others = await self._trusted_others(stored)
        return await self._examine(bootstrap, stored, delegation, bool(others))

    async def _trusted_others(self, stored: StoredKey) -> list[StoredKey]:
        keys = await self._store.keys.find(stored.key.owner)
        return [each for each in keys if each.state is KeyState.TRUSTED and each.id != stored.id]

    async def _examine(
        self, bootstrap: Bootstrap, stored: StoredKey, delegation: Delegation, has_trusted: bool
    ) -> tuple[str, Finding]:
        """The first method that accepts; else the finding that says most: one that makes headway, then undecided, then
        contradicted."""
        evidence = dict(bootstrap.evidence)
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
        for says_most in (_makes_headway, _is_undecided, _is_contradicted):
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

    async def _conclude(self, bootstrap: Bootstrap, stored: StoredKey, method: str, finding: Finding) -> None:
        now = self._clock()
        if finding.conclusion is Conclusion.ACCEPTED:
            alone = not dict(self._methods)[method].replaces_trusted
            await self._store.bootstraps.accept(
                bootstrap, method, ACTOR, finding.reason, validated=finding.validated, alone=alone
            )
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
