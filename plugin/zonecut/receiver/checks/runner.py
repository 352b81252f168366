"""When a change is looked at: before it is recorded if a check is enforced, in the background if it warns."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import structlog

from zonecut.plugin import Change
from zonecut.protocol import names
from zonecut.protocol.codepoints import EdeCode
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.errors import Refusal
from zonecut.receiver.checks import ds_continuity, ns_consistency
from zonecut.receiver.checks.settings import CheckSettings
from zonecut.receiver.checks.survey import Conclusion, Finding, Looks
from zonecut.receiver.outcome import EndsEarly, Outcome
from zonecut.store import AuditEntry, StoreUnavailable

WATCHED = 8
"""Children that are looked at in the background at the same time."""
ENFORCED = 48
"""Changes that wait for their checks at the same time."""
MAX_WAITING = 10_000
"""Children whose check in the background has not begun."""
DS_CONTINUITY = "ds-continuity"
NS_CONSISTENCY = "ns-consistency"
ACTOR = "zonecut"

_LOOK = {DS_CONTINUITY: ds_continuity.look, NS_CONSISTENCY: ns_consistency.look}

_log = structlog.get_logger(__name__)


def concerned(change: Change) -> Iterable[str]:
    """The checks that a change is worth, the one that says more first: none if it leaves nothing to look at."""
    before, after = change.before, change.after
    if before == after or not after.is_delegated:
        return
    if before.ns != after.ns or before.glue != after.glue:
        yield NS_CONSISTENCY
    if after.ds:
        yield DS_CONTINUITY


_BUSY = "too many changes wait for their checks"


@dataclass(slots=True)
class _Job:
    """What is to be looked at in the background: a child's delegation, by these checks, for these changes."""

    after: Delegation
    checks: set[str]
    changes: list[int] = field(default_factory=list)


class Checks:
    """The checks of one parent zone."""

    def __init__(
        self,
        zone: bytes,
        settings: CheckSettings,
        looks: Looks | None,
        record: Callable[[AuditEntry], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        """`looks` is None where nothing can be looked up; `record` keeps an entry of the audit trail, and may raise
        StoreUnavailable; `clock` is in seconds since the epoch."""
        self._zone = zone
        self._modes = {DS_CONTINUITY: settings.ds_continuity, NS_CONSISTENCY: settings.ns_consistency}
        self._time_limit = settings.time_limit
        self._looks = looks
        self._record = record
        self._clock = clock
        self._places = asyncio.Semaphore(ENFORCED)
        self._waiting: dict[bytes, _Job] = {}
        self._running: dict[bytes, _Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._overflowing = False

    def must_look(self, change: Change, looked_at: Change | None) -> bool:
        """Whether a change has to pass what is enforced, although `looked_at` has; None: nothing has."""
        checks = self._in_mode("enforce", change)
        if looked_at is None or looked_at.after != change.after:
            return bool(checks)
        return not set(checks).issubset(self._in_mode("enforce", looked_at))

    async def enforce(self, change: Change) -> bool:
        """Look at what is enforced, for `time_limit` seconds at most; False if there was nothing to look at.

        Raises Refusal for what was seen, and EndsEarly when nothing conclusive was.
        """
        checks = self._in_mode("enforce", change)
        if not checks:
            return False
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._time_limit
        try:
            async with asyncio.timeout_at(ends_at):
                await self._places.acquire()
        except TimeoutError:
            raise EndsEarly(Outcome.unavailable(checks[0], _BUSY, told=_BUSY)) from None
        try:
            findings = await self._look(change.after, checks, ends_at - loop.time())
        finally:
            self._places.release()
        for rule, finding in findings.items():
            if finding.conclusion is Conclusion.FAILED:
                raise Refusal(rule, finding.reason, ede=EdeCode.PROHIBITED)
        for rule, finding in findings.items():
            if finding.conclusion is Conclusion.UNDECIDED:
                raise EndsEarly(Outcome.unavailable(rule, finding.reason, told=finding.reason))
        for rule, finding in findings.items():
            if finding.reason:
                zone, child = names.to_text(self._zone), names.to_text(change.child)
                _log.warning("check.note", zone=zone, child=child, check=rule, reason=finding.reason)
        return True

    def watch(self, change: Change, change_id: int) -> None:
        """Have a change that was accepted looked at in the background, where a check warns.

        Of a child whose turn has not come, the newest delegation counts; one that is being looked at is not begun anew.
        """
        checks = self._in_mode("warn", change)
        if not checks or self._looks is None:
            return
        child, after = change.child, change.after
        running, waiting = self._running.get(child), self._waiting.get(child)
        if waiting is None and running is not None and running.after == after and running.checks.issuperset(checks):
            running.changes.append(change_id)
        elif waiting is not None:
            waiting.after = after
            waiting.checks.update(checks)
            waiting.changes.append(change_id)
        elif len(self._waiting) < MAX_WAITING:
            self._waiting[child] = _Job(after, set(checks), [change_id])
            self._start_waiting()
        elif not self._overflowing:
            self._overflowing = True
            _log.warning("check.overflow", zone=names.to_text(self._zone), change=change_id, waiting=MAX_WAITING)

    async def close(self) -> None:
        """Give up what is looked at in the background."""
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _in_mode(self, mode: str, change: Change) -> list[str]:
        return [check for check in concerned(change) if self._mode_of(check, change) == mode]

    def _mode_of(self, check: str, change: Change) -> str:
        mode = self._modes[check]
        if mode != "auto":
            return mode
        return "warn" if change.before.ds == change.after.ds else "enforce"

    async def _look(self, after: Delegation, checks: Iterable[str], time_limit: float) -> dict[str, Finding]:
        """What each check finds."""
        if self._looks is None:
            return dict.fromkeys(checks, Finding(Conclusion.UNDECIDED, "nothing can be looked up from here"))
        looks = [(check, _LOOK[check](self._looks, after, self._clock, time_limit)) for check in checks]
        findings = await asyncio.gather(*(look for _, look in looks))
        return {check: finding for (check, _), finding in zip(looks, findings, strict=True)}

    def _start_waiting(self) -> None:
        free = WATCHED - len(self._running)
        if free <= 0:
            return
        for child in list(islice((each for each in self._waiting if each not in self._running), free)):
            job = self._running[child] = self._waiting.pop(child)
            task = asyncio.create_task(self._run(job))
            self._tasks.add(task)
            task.add_done_callback(partial(self._done, child))
        self._overflowing = self._overflowing and len(self._waiting) > MAX_WAITING // 2

    def _done(self, child: bytes, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        del self._running[child]
        self._start_waiting()

    async def _run(self, job: _Job) -> None:
        """One look, whatever happens in it."""
        child = names.to_text(job.after.child)
        try:
            for rule, finding in (await self._look(job.after, sorted(job.checks), self._time_limit)).items():
                if finding.conclusion is Conclusion.PASSED:
                    zone, change = names.to_text(self._zone), job.changes[-1]
                    _log.info("check.passed", zone=zone, child=child, change=change, check=rule, reason=finding.reason)
                else:
                    await self._warn(job, rule, finding)
        except Exception:
            _log.exception("check.defect", child=child, change=job.changes[-1])

    async def _warn(self, job: _Job, rule: str, finding: Finding) -> None:
        _log.warning(
            "check.warning",
            zone=names.to_text(self._zone),
            child=names.to_text(job.after.child),
            change=job.changes[-1],
            check=rule,
            conclusion=finding.conclusion.value,
            reason=finding.reason,
        )
        entry = AuditEntry(
            event="check.warning",
            zone=self._zone,
            child=job.after.child,
            actor=ACTOR,
            rule=rule,
            detail={"changes": job.changes, "conclusion": finding.conclusion.value, "reason": finding.reason},
        )
        try:
            await self._record(entry)
        except StoreUnavailable as error:
            _log.error("audit.lost", event_lost=entry.event, reason=error.reason)
