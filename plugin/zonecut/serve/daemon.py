"""The process that `zonecut serve` runs: listeners, zones, signals; all of it as the configuration asks."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import pluggy
import structlog

from zonecut import config
from zonecut.config import Loaded
from zonecut.configfile import ConfigurationError
from zonecut.plugin import BackendError
from zonecut.powerdns_api.front_end import FrontEnd
from zonecut.protocol import names
from zonecut.protocol.keys import UnusableKey, algorithm_number
from zonecut.receiver.announce.key_directory import Identities, KeyDirectory
from zonecut.receiver.keys.keystate import Inquiries
from zonecut.receiver.message.counters import Counters
from zonecut.receiver.message.key_lookup import KeyLookup
from zonecut.receiver.message.replay import ReplayMemory
from zonecut.receiver.receiver import Receiver
from zonecut.receiver.refusals import Refusals
from zonecut.receiver.requests import Requests
from zonecut.receiver.served_zone import ServedZone
from zonecut.serve.children import RunningChildren
from zonecut.serve.hook import Desk, Hook
from zonecut.serve.listening.listeners import CannotListen, Listeners
from zonecut.serve.listening.tcp import Connections
from zonecut.serve.notify_listener import Notified
from zonecut.serve.own_keys import OwnKeys
from zonecut.serve.scraping import Scraping
from zonecut.serve.sd_notify import keep_alive, notify, watchdog_interval
from zonecut.serve.supervisor import Supervisor, TaskName
from zonecut.serve.unhandled import Unhandled
from zonecut.serve.zone_states import StateKeeper
from zonecut.serve.zones import RunningZones
from zonecut.store import ChangeState, Store, StoreError
from zonecut.store.place.lock import Lock

PATIENCE = 5.0
"""Seconds for which a stop waits for work that is under way; what is accepted and not written then is in the ledger."""
SUMMARY = 60.0
"""Seconds between two log lines that sum up what was counted."""
NOTICE = 0.5
"""Seconds between looks at the key files: what a command does to the receiver's keys counts within one second."""

_log = structlog.get_logger(__name__)


class Daemon:
    """Serves a configuration until SIGTERM or SIGINT; SIGHUP makes it read the file again."""

    def __init__(
        self,
        loaded: Loaded,
        manager: pluggy.PluginManager,
        store: Store,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loaded = loaded
        self._manager = manager
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._tally = Counters()
        self._refusals = Refusals(store)
        limits = loaded.configuration.receiver.limits
        self._connections = Connections(limits.tcp_connections, limits.tcp_idle)
        self._listeners = Listeners("receiver.listen", self._connections)
        self._supervisor = Supervisor(self._tasks_changed, clock=clock, monotonic=monotonic)
        self._states_changed = asyncio.Event()
        self._children = RunningChildren(store, self._supervisor, clock)
        self._notified = Listeners("agent.listen", self._connections)
        self._hook = Hook(self._tally, monotonic)

    async def run(self) -> None:
        """Serve until stopped.

        Raises StoreError, BackendError, CannotListen, UnusableKey or OSError if it cannot begin.
        """
        loop = asyncio.get_running_loop()
        unhandled = Unhandled()
        loop.set_exception_handler(unhandled)
        self._store.thread.failed = unhandled.tell
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        try:
            await self._run()
        finally:
            await self._supervisor.stop()

    async def _run(self) -> None:
        store = self._store
        store.thread.noticed = _log_store
        if store.restored:
            _log.error("store.restored", reason=store.restored.reason, **store.restored.to_json())
        await store.ring.start()
        self._supervisor.start(TaskName("keyring"), store.ring.run)
        remembered = [
            (each.identity, each.expires_at)
            async for each in store.changes.identities(self._clock())
            if each.state is not ChangeState.FAILED
        ]
        self._replay = ReplayMemory(remembered)
        self._identities = open_identities(self._loaded)
        self._own_keys = OwnKeys(self._identities, store)
        await self._own_keys.ensure(_targets(self._loaded))
        self._keys = KeyLookup(store.ring)
        scraping = Scraping(
            self._loaded,
            store,
            self._tally,
            lambda: self._zones,
            self._supervisor,
            self._children.phases,
            self._clock,
        )
        self._zones = RunningZones(
            store,
            self._replay,
            self._identities,
            self._keys,
            scraping.written,
            self._supervisor,
            self._states_changed,
            clock=self._clock,
            monotonic=self._monotonic,
        )
        preparation = self._zones.prepare(self._loaded)
        children = self._children.prepare(self._loaded)
        receivers: list[Receiver] = []
        await self._zones.switch(preparation, lambda zones: receivers.append(self._receiver(zones)))
        self._current = receivers[0]
        await self._listen(self._loaded, self._prepare_hook(self._loaded))
        await scraping.listen()
        await self._children.switch(children, self._loaded.configuration.agent.lookups)
        _log.info(
            "serve.started",
            listen=[str(endpoint) for endpoint in self._listeners.endpoints],
            hook=[str(endpoint) for endpoint in self._hook.endpoints],
            notified_at=[str(endpoint) for endpoint in self._notified.endpoints],
            children=len(self._loaded.configuration.children),
            zones=[names.to_text(zone) for zone in self._zones.zones],
            children_with_keys=len(store.ring),
            signs_with={names.to_text(owner): pair.key.tag for owner, pair in self._identities.signers(self._clock())},
        )
        notify(f"READY=1\nSTATUS={store.restored.reason if store.restored else ''}")
        states = StateKeeper(store, self._zones.served, self._states_changed)
        background = self._background(states)
        await self._until_stopped()
        notify("STOPPING=1")
        for task in background:
            task.cancel()
        scraping.close()
        await self._finish()
        await states.stopped(self._clock())
        _log.info("serve.stopped", counts=dict(self._tally.counts))

    def _background(self, states: StateKeeper) -> list[asyncio.Task[None]]:
        """What goes on beside the zones."""
        work: dict[str, Callable[[], Awaitable[None]]] = {
            "summaries": self._summaries,
            "identities": self._notice_keys,
            "states": states.run,
        }
        if (interval := watchdog_interval()) is not None:
            work["watchdog"] = partial(keep_alive, interval)
        return [self._supervisor.start(TaskName(task), run) for task, run in work.items()]

    def _tasks_changed(self) -> None:
        """Tell whoever looks which tasks are not running."""
        self._states_changed.set()
        down = [f"{each.name} ({each.reason})" for each in self._supervisor.down]
        notify(f"STATUS=not running: {'; '.join(down)}" if down else "STATUS=")

    async def _until_stopped(self) -> None:
        while not self._stop.is_set():
            waits = [asyncio.create_task(event.wait()) for event in (self._stop, self._reload)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            if self._reload.is_set() and not self._stop.is_set():
                self._reload.clear()
                notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
                try:
                    await self._reconfigure()
                except Exception:
                    _log.exception("reload.defect", file=str(self._loaded.path))
                notify("READY=1")

    async def _finish(self) -> None:
        """Accept nothing more, answer what is in work, write what is accepted."""
        self._listeners.close()
        self._notified.close()
        self._hook.stop()
        self._connections.stop_reading()
        await self._children.close()
        await self._hook.close(PATIENCE)
        await self._current.close(PATIENCE)
        await self._zones.close(PATIENCE)
        await self._refusals.close(PATIENCE)
        self._connections.close()
        self._listeners.release()
        self._notified.release()

    def _receiver(self, zones: Mapping[bytes, ServedZone]) -> Receiver:
        """What takes UPDATEs for these zones; the hook takes PATCHes for them from now on."""
        section = self._loaded.configuration.receiver
        codepoints = self._loaded.configuration.codepoints.to_codepoints()
        limits, fudge = section.limits, section.signatures.fudge
        requests = Requests(self._replay, self._keys, limits, fudge, codepoints, self._tally, self._monotonic)
        clocks = {"clock": self._clock, "monotonic": self._monotonic}
        self._hook.use(FrontEnd(zones, requests, self._refusals, limits, self._tally, **clocks))
        return Receiver(
            zones,
            self._refusals,
            self._keys,
            requests,
            Inquiries(section.keystate, section.signatures, codepoints),
            limits,
            section.signatures,
            codepoints,
            self._tally,
            **clocks,
        )

    def _prepare_hook(self, loaded: Loaded) -> Desk | None:
        """Raises CannotListen for files that cannot be used."""
        section = loaded.configuration.receiver
        return self._hook.prepare(section.hook, section.limits)

    async def _listen(self, loaded: Loaded, desk: Desk | None) -> None:
        """Listen as a configuration asks. Raises CannotListen; what was open before stays open then.

        Who has no parent zones takes no UPDATEs.
        """
        configuration = loaded.configuration
        endpoints = configuration.receiver.endpoints if configuration.parents else ()
        receiving = await self._listeners.open(endpoints, self._current)
        try:
            notified = await self._notified.open(configuration.agent.endpoints, Notified(self._children))
        except BaseException:
            receiving.close()
            raise
        try:
            await self._hook.listen(desk)
        except BaseException:
            notified.close()
            receiving.close()
            raise
        self._listeners.keep(receiving)
        self._notified.keep(notified)

    async def _reconfigure(self) -> None:
        """Read the file again: all of it counts from then on, or, whatever is wrong, nothing of it."""
        old = self._loaded
        try:
            loaded = config.load(old.path, self._manager)
            _check_reloadable(old, loaded)
            preparation = self._zones.prepare(loaded)
            children = self._children.prepare(loaded)
            await self._own_keys.ensure(_targets(loaded) | _targets(old))
            await self._listen(loaded, self._prepare_hook(loaded))
        except ConfigurationError as error:
            _log.error("reload.refused", file=str(old.path), problems=error.problems)
            return
        except (BackendError, CannotListen, StoreError, UnusableKey, OSError) as error:
            _log.error("reload.refused", file=str(old.path), problems=[str(error)])
            return
        except Exception as error:
            # a defect, of an adapter's perhaps
            problem = f"internal error ({type(error).__name__})"
            _log.error("reload.refused", file=str(old.path), problems=[problem], exc_info=error)
            return
        self._loaded = loaded
        limits = loaded.configuration.receiver.limits
        self._connections.limit, self._connections.idle = limits.tcp_connections, limits.tcp_idle
        await self._zones.switch(preparation, self._use)
        await self._children.switch(children, loaded.configuration.agent.lookups)
        _log.info("reload.done", zones=[names.to_text(zone) for zone in self._zones.zones])

    def _use(self, zones: Mapping[bytes, ServedZone]) -> None:
        """Have all listeners hand what comes from now on to a receiver of these zones."""
        self._current = self._receiver(zones)
        self._listeners.use(self._current)

    async def _notice_keys(self) -> None:
        """Take in what commands do to the receiver's keys."""
        while True:
            await asyncio.sleep(NOTICE)
            changed = await asyncio.to_thread(self._identities.refresh)
            if changed:
                self._zones.look(changed)
                await self._own_keys.note()

    async def _summaries(self) -> None:
        seen = dict(self._tally.counts)
        while True:
            await asyncio.sleep(SUMMARY)
            await self._own_keys.note()
            counts = dict(self._tally.counts)
            new = {rule: count - seen.get(rule, 0) for rule, count in counts.items() if count != seen.get(rule, 0)}
            if new:
                _log.info("serve.summary", seconds=SUMMARY, counts=new)
            seen = counts


def _check_reloadable(old: Loaded, new: Loaded) -> None:
    """Raise ConfigurationError for what only a restart can change."""
    before, after = old.configuration, new.configuration
    fixed = {
        "store": (before.store, after.store),
        "codepoints": (before.codepoints, after.codepoints),
        "keys": (before.keys, after.keys),
        "agent.lookups": (before.agent.lookups, after.agent.lookups),
        "metrics": (before.metrics, after.metrics),
        "receiver.cached_children": (before.receiver.cached_children, after.receiver.cached_children),
    }
    problems = [f"{key}: a change of this needs a restart" for key, (one, other) in fixed.items() if one != other]
    if problems:
        raise ConfigurationError(new.path, problems)


def _log_store(trouble: str | None) -> None:
    if trouble is None:
        _log.info("store.recovered")
    else:
        _log.error("store.unavailable", reason=trouble)
    notify(f"STATUS={trouble or ''}")


def open_store(loaded: Loaded, *, writes: bool = False, lock: Lock | None = None) -> Store:
    """The store that a configuration names; with `writes`, it must be writable. `lock`: see `locked`.

    Raises StoreUnusable.
    """
    configuration = loaded.configuration
    return Store.open(
        configuration.store.url,
        code_points=configuration.codepoints.to_codepoints(),
        ring_owners=configuration.receiver.cached_children,
        writes=writes,
        lock=lock,
    )


def open_identities(loaded: Loaded) -> Identities:
    """The receiver's own keys, as a configuration wants them; nothing is read yet."""
    configuration = loaded.configuration
    codepoints = configuration.codepoints.to_codepoints()
    # without parent zones nothing is kept there
    directory = KeyDirectory(configuration.key_directory or Path("keys"), codepoints)
    return Identities(directory, algorithm_number(configuration.keys.algorithm, codepoints))


def _targets(loaded: Loaded) -> set[bytes]:
    return {section.target_name for section in loaded.configuration.parents}
