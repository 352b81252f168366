"""What nobody thought of: an exception of a step that is none of those which it may raise.

It is a failure of that zone, with its pause, and not the end of the zone's task, which would begin anew for ever with
nothing kept.
"""

import structlog

from zonecut.protocol import names
from zonecut.protocol.foreigntext import clip

ADVICE = "this is a defect of zonecut, and the log has its place (`agent.defect`): please report it"

_log = structlog.get_logger(__name__)


def defect(zone: bytes, error: Exception) -> str:
    """The reason as a person is told it; where it came up is in the log."""
    reason = clip(f"unexpected {type(error).__name__}: {error}")
    _log.error("agent.defect", zone=names.to_text(zone), reason=reason, exc_info=error)
    return reason
