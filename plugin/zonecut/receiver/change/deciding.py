"""What a request makes of its delegation: on what is believed of that where it may be, else on a look at the server."""

from collections.abc import Callable
from contextlib import suppress

from zonecut.plugin import Change, Reading
from zonecut.protocol.errors import Refusal
from zonecut.receiver.change.case import Case
from zonecut.receiver.change.judgement import needs_a_look
from zonecut.receiver.change.neighbours import Weighed
from zonecut.receiver.change.readings import Readings


class Deciding:
    """Of one parent zone. All of it raises Refusal, BackendError, StoreUnavailable."""

    def __init__(self, readings: Readings, patience: Callable[[], float]) -> None:
        """`patience`: for how many seconds an answer may wait now."""
        self._readings = readings
        self._patience = patience

    async def decide(self, case: Case, signed: bool) -> Weighed:
        """The change that a request makes of what the server holds.

        What is believed is enough to accept a change, since the write is conditional on it; for some of which see
        `needs_a_look`, the server has to show it once more, at a moment after the message came. To refuse one, the
        server is read. What is read for a request that is refused has no effect on the child's keys, and a signed one
        does not get past what the next look will mean for them.
        """
        believed = self._readings.believed(case.request.child, noticed=True)
        if believed is not None:
            with suppress(Refusal):
                weighed = await self._on(case, believed)
                if weighed is not None:
                    return weighed
        return await self.afresh(case, signed)

    async def _on(self, case: Case, believed: Reading) -> Weighed | None:
        """The change that it makes of what is believed; None where the server was to show that, and did not."""
        before, confirmed = believed.delegation, None
        if needs_a_look(Change(before, case.request.apply(before))):
            # beside the weighing, which may have a question to the server as well
            confirmed = self._readings.confirm(believed, self._patience())
        weighed = await case.weigh(believed)
        if needs_a_look(weighed.change):
            is_so = await (confirmed or self._readings.confirm(believed, self._patience()))
            if not is_so or not self._readings.believes(believed):
                return None
            await case.check_standing()  # that took time
        return weighed

    async def afresh(self, case: Case, signed: bool) -> Weighed:
        """The change that a request makes of what the server holds now, whatever is believed."""
        child = case.request.child
        reading = await self._readings.read(child, self._patience())
        if signed:
            await case.check_suspicion(reading)
        weighed = await case.weigh_anew(reading)
        await self._readings.notice(child, reading)
        return weighed
