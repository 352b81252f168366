"""Which name servers of a delegation lie in another one of the zone and have no address there: nobody finds them."""

from collections.abc import Sequence

from zonecut.plugin import Backend, Host
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation

_REMEMBERED = 10_000
"""So many hosts are asked for once."""


class MissingGlue:
    """Of one parent zone."""

    def __init__(self, zone: bytes, backend: Backend) -> None:
        self._zone = zone
        self._backend = backend
        self._found: dict[bytes, str | None] = {}

    async def of(self, delegations: Sequence[Delegation]) -> list[tuple[str, ...]]:
        """What is missing of each, a text per host. Raises BackendError."""
        shared = [[host for host in each.ns if self._is_shared(host, each.child)] for each in delegations]
        if len(self._found) > _REMEMBERED:
            self._found.clear()
        asked = sorted({host for hosts in shared for host in hosts} - self._found.keys())
        known = await self._backend.hosts(asked) if asked else {}
        for host in asked:
            self._found[host] = await self._missing(host, known.get(host, Host()))
        return [tuple(text for host in hosts if (text := self._found[host]) is not None) for hosts in shared]

    def _is_shared(self, host: bytes, child: bytes) -> bool:
        return names.is_below(host, self._zone) and not names.is_at_or_below(host, child)

    async def _missing(self, host: bytes, known: Host) -> str | None:
        for place in () if known.addresses else (*names.between(host, self._zone), host):
            if (await self._backend.read(place)).delegation.is_delegated:
                where = f"lies in the delegation of {names.to_text(place)}, and has no address there"
                return f"glue-elsewhere: {names.to_text(host)}: it is a name server, {where}"
        return None
