"""The daemon's metrics, if the configuration wants any: the library for them is loaded only then."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from zonecut.config import Loaded
from zonecut.receiver.change.change_counts import ChangeCounts
from zonecut.receiver.message.counters import Counters
from zonecut.serve.listening.listeners import CannotListen
from zonecut.serve.supervisor import Supervisor
from zonecut.serve.zones import RunningZones
from zonecut.store import Store

if TYPE_CHECKING:
    from zonecut.manage.metrics import Metrics
    from zonecut.manage.scrape import ScrapeEndpoint


class Scraping:
    """Metrics and the endpoint at which Prometheus asks for them; without a section `metrics`, nothing."""

    def __init__(
        self,
        loaded: Loaded,
        store: Store,
        tally: Counters,
        zones: Callable[[], RunningZones],
        supervisor: Supervisor,
        agents: Callable[[], Mapping[str, int]],
        clock: Callable[[], float],
    ) -> None:
        """`zones` is asked from when the endpoint listens. `agents` counts child zones by how they do."""
        self._section = loaded.configuration.metrics
        self._metrics: Metrics | None = None
        self._endpoint: ScrapeEndpoint | None = None
        if self._section is None:
            return
        from zonecut.manage import metrics

        def counts() -> dict[bytes, ChangeCounts]:
            return {apex: zone.delegations.counts for apex, zone in zones().zones.items()}

        def tasks() -> list[metrics.Task]:
            running = supervisor.running
            return [
                metrics.Task(name.task, name.zone, restarts, running.get(name))
                for name, restarts in supervisor.restarts.items()
            ]

        sources = metrics.Sources(
            tally, counts, lambda: zones().states(), lambda: zones().consumers(), tasks, agents, store, clock
        )
        self._metrics = metrics.Metrics(sources)

    def written(self, zone: bytes, changes: int, result: str, seconds: float) -> None:
        """A transaction of so many changes has ended."""
        if self._metrics is not None:
            self._metrics.written(zone, changes, result, seconds)

    async def listen(self) -> None:
        """Answer from now on. Raises CannotListen."""
        if self._metrics is None or self._section is None:
            return
        from zonecut.manage.scrape import ScrapeEndpoint

        self._endpoint = ScrapeEndpoint(self._metrics.exposition)
        endpoint = self._section.endpoint
        try:
            await self._endpoint.listen(endpoint.address, endpoint.port)
        except OSError as error:
            raise CannotListen(f"metrics.listen: {endpoint}: {error.strerror or error}") from error

    def close(self) -> None:
        """Answer no more."""
        if self._endpoint is not None:
            self._endpoint.close()
