"""What is shown of zones to whoever manages them by the PowerDNS API, as far as such programs ask before they write.

Pure. A zone is shown with all RRsets of all its delegations: who is given fewer takes the others for gone, and makes a
replacement of what should have been an addition.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from zonecut.plugin import Reading
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Ttls, rdata_text

API = "/api/v1"
SERVER = f"{API}/servers/localhost"

VERSION = "4.9.12"
"""The release of PowerDNS whose API the hook speaks, for programs that look at it: the first of its branch with EXTEND
and PRUNE."""

Key = tuple[bytes, int]
RRsets = Mapping[Key, tuple[int, frozenset[bytes]]]
"""TTL in seconds and RDATA by owner and type."""


def versions() -> list[dict[str, Any]]:
    return [{"url": API, "version": 1}]


def discovery() -> dict[str, Any]:
    return {"server_url": f"{API}/servers{{/server}}", "api_features": []}


def server() -> dict[str, Any]:
    return {
        "type": "Server",
        "id": "localhost",
        "url": SERVER,
        "daemon_type": "authoritative",
        "version": VERSION,
        "config_url": f"{SERVER}/config{{/config_setting}}",
        "zones_url": f"{SERVER}/zones{{/zone}}",
    }


def zone(apex: bytes) -> dict[str, Any]:
    """A zone without its RRsets. Whoever sends notifications is the server behind us, so it is none of kind Master."""
    text = names.to_text(apex)
    return {
        "type": "Zone",
        "id": text,
        "name": text,
        "url": f"{SERVER}/zones/{text.replace('/', '=2F')}",
        "kind": "Native",
        "account": "",
        "masters": [],
    }


def rrsets_of(readings: Iterable[Reading], ttls: Ttls) -> RRsets:
    """The RRsets of these delegations, each once: an address may belong to several. `ttls` where no server tells."""
    found: dict[Key, tuple[int, frozenset[bytes]]] = {}
    for reading in readings:
        for key, rdatas in reading.delegation.rrsets.items():
            ttl = reading.ttls.get(key, ttls.of(key[1]))
            known = found[key][1] if key in found else frozenset()
            found[key] = ttl, known.union(rdatas)
    return found


def at(rrsets: RRsets, owner: bytes, rtype: int | None) -> RRsets:
    """Those at a name, of one type if it is given."""
    return {key: held for key, held in rrsets.items() if key[0] == owner and rtype in (None, key[1])}


def document(rrsets: RRsets) -> list[dict[str, Any]]:
    """The RRsets as PowerDNS shows them."""
    return [
        {
            "name": names.to_text(owner),
            "type": RRType(rtype).text,
            "ttl": ttl,
            "records": [{"content": _content(rtype, rdata), "disabled": False} for rdata in sorted(rdatas)],
            "comments": [],
        }
        for (owner, rtype), (ttl, rdatas) in rrsets.items()
    ]


def _content(rtype: int, rdata: bytes) -> str:
    text = rdata_text(rtype, rdata)
    return text.lower() if rtype == RRType.DS else text  # as PowerDNS writes a digest
