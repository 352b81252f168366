"""The zone's serial number: whether it rose with what we wrote, and whether somebody else has written since.

A serial number that does not rise is a change that no secondary ever fetches. PowerDNS raises it as the zone's
`soa_edit_api` says, which may be lost while we run (`pdnsutil delete-zone` and `load-zone`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from zonecut.protocol import names
from zonecut_powerdns import settings
from zonecut_powerdns.api import Api

_LOG = logging.getLogger("zonecut.powerdns")


class SerialWatch:
    """Of one zone, for whom writes it in the turn that is given."""

    def __init__(self, zone: bytes, api: Api, turn: asyncio.Lock, settle: Callable[[], Awaitable[None]]) -> None:
        """`settle` sees that the zone's settings are such that its serial number rises."""
        self._zone = zone
        self._api = api
        self._turn = turn
        self._settle = settle
        self._known: int | None = None
        self._before: int | None = None
        self.trouble: str | None = None
        """Why secondaries do not fetch what was written last; None if they do."""

    def note(self, serial: int) -> None:
        """The zone was looked at with this serial number, and all that it says is known."""
        self._known = serial

    def is_known(self, serial: int) -> bool:
        """False where somebody else may have written since the zone was looked at, or it cannot be told."""
        return self._known == serial

    def wrote(self, before: int) -> None:
        """A transaction of ours is in the zone, which had this serial number before it; somewhat later, `check`."""
        if self._before is None:
            self._before = before
        self._known = None

    async def check(self) -> None:
        """Read back whether the serial number rose since; where it did not, see to it, or say so. Raises BackendError.

        It may be called beside reads of the zone.
        """
        before = self._before
        if before is None:
            return
        now = await self._api.serial()
        if not settings.rises(before, now):
            now = await self._raise(before, now)
        # one step is ours alone; with more, somebody else may have written, too
        self._before, self._known = None, now if now == (before + 1) % 2**32 else None

    async def _raise(self, before: int, now: int) -> int:
        zone = names.to_text(self._zone)
        await self._settle()
        async with self._turn:
            await self._api.raise_serial(before)
            found = await self._api.serial()
            if not settings.rises(before, found):
                # the settings look as they should: EPOCH twice in a second, say
                await self._api.set(settings.SERIAL)
                await self._api.raise_serial(before)
                found = await self._api.serial()
        self.trouble = None
        if settings.rises(before, found):
            _LOG.warning(
                "the serial number of %s did not rise with a change (%d, then %d): it is %d now",
                zone,
                before,
                now,
                found,
            )
        else:
            self.trouble = (
                f"the serial number of {zone} does not rise with a change: it was {before} and is {found}; no "
                "secondary fetches the zone. Set its soa_edit_api to INCREASE, and see that nothing else sets it"
            )
            _LOG.error(self.trouble)
        return found
