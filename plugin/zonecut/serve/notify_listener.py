"""What comes in at `agent.listen`: NOTIFY for the zones that we are agents of."""

from collections.abc import Callable

import structlog

from zonecut.agent.exchange.notify_in import response, zone_of
from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode
from zonecut.receiver.decision import is_request
from zonecut.receiver.message.admission import Source
from zonecut.serve.children import RunningChildren

_log = structlog.get_logger(__name__)


class Notified:
    """Answers NOTIFY and has the zone looked at. A flood of them costs little: a zone is looked at once at a time."""

    def __init__(self, children: RunningChildren) -> None:
        self._children = children

    def handle(self, wire: bytes, source: Source, respond: Callable[[bytes], None]) -> None:
        """Answer one message, unless it is no request."""
        if not is_request(wire):
            return
        zone = zone_of(wire)
        if isinstance(zone, Rcode):
            respond(response(wire, zone))
            return
        agents = self._children.agents
        known = agents is not None and agents.changed(zone)
        if known:
            _log.debug("agent.notified", zone=names.to_text(zone), source=source.address)
        respond(response(wire, Rcode.NOERROR if known else Rcode.NOTAUTH))
