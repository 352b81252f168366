"""A daemon that is watched from outside."""

import http.client
from contextlib import closing
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from lab.ports import LOOPBACK, free_port
from signer import Signer
from world import World

CHILDREN = [Signer.generate(f"child{number}") for number in range(5)]


class Watched(World):
    """A world with an endpoint for metrics."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.metrics_port = free_port()
        super().__init__(*arguments, further={"metrics": {"listen": f"{LOOPBACK}:{self.metrics_port}"}}, **options)

    def get(self, method: str = "GET", path: str = "/metrics") -> tuple[int, str]:
        with closing(http.client.HTTPConnection(LOOPBACK, self.metrics_port, timeout=10)) as connection:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def metric(self, sample: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        status, text = self.get()
        assert status == 200
        return sum(
            each.value
            for family in text_string_to_metric_families(text)
            for each in family.samples
            if each.name == sample and labels.items() <= each.labels.items()
        )

    def listed(self, *options: str) -> dict[str, Any]:
        document: dict[str, Any] = self.zonecut.cli("change", "list", *options)
        return document

    def server_state(self) -> dict[str, Any]:
        (zone,) = self.listed("--limit", "1")["zones"]
        assert isinstance(zone, dict)
        return zone
