"""A front end of PowerDNS that was given another URL: PATCHes over plain HTTP/1.1, or anything else."""

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.ports import LOOPBACK
from lab.zones import PARENT

ZONES = "/api/v1/servers/localhost/zones"


@dataclass(frozen=True)
class Reply:
    """The status of an answer, and its document or None."""

    status: int
    document: Any

    @property
    def error(self) -> str:
        return str(self.document["error"])


def rrset(name: str, rtype: str, *contents: str, **more: Any) -> dict[str, Any]:
    """An RRset of a PATCH, its name below the parent unless it is absolute; without contents, its deletion."""
    owner = name if name.endswith(".") else f"{name}.{PARENT}"
    change: dict[str, Any] = {"changetype": "DELETE"}
    if contents:
        records = [{"content": content, "disabled": False} for content in contents]
        change = {"changetype": "REPLACE", "ttl": 3600, "records": records}
    return {"name": owner, "type": rtype, **change, **more}


@dataclass(frozen=True)
class Poster:
    """Somebody with an API key; `ca` makes it speak TLS."""

    port: int
    key: str
    ca: Path | None = None

    def patch(self, *rrsets: Mapping[str, Any], zone: str = PARENT, **fields: str) -> Reply:
        body = json.dumps({"rrsets": rrsets}).encode()
        return self.ask("PATCH", f"{ZONES}/{zone}", body, **{"Content-Type": "application/json", **fields})

    def get(self, name: str, zone: str = PARENT) -> Reply:
        return self.ask("GET", f"{ZONES}/{zone}?rrset_name={name}")

    def ask(self, method: str, target: str, body: bytes | None = None, **fields: str) -> Reply:
        """Any request; fields given as None are left out."""
        with self._connection() as connection:
            connection.request(method, target, body, {"X-API-Key": self.key, **fields})
            answer = connection.getresponse()
            text = answer.read()
        return Reply(answer.status, json.loads(text) if text else None)

    @contextmanager
    def _connection(self) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=20)
        if self.ca is not None:
            context = ssl.create_default_context(cafile=self.ca)
            connection = http.client.HTTPSConnection(LOOPBACK, self.port, timeout=20, context=context)
        try:
            yield connection
        finally:
            connection.close()
