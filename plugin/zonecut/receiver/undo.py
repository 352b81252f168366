"""The half of a change that a server took, taken back."""

from collections.abc import Mapping

import structlog

from zonecut.plugin import Backend, BackendConflict, BackendRejected, Change
from zonecut.protocol.delegation import Delegation
from zonecut.receiver.writequeue import Pending

_log = structlog.get_logger(__name__)


async def take_back(backend: Backend, pending: Pending, held: Delegation, about: Mapping[str, object]) -> str:
    """Undo what the server holds of a change; what became of that, for the reason. Raises BackendError.

    `about` says in the log which change it is.
    """
    undo = Change(held, pending.origin)
    try:
        await backend.write([undo])
        undone = not await backend.verify([undo])
    except (BackendConflict, BackendRejected) as error:
        undone = False
        _log.warning("change.undo.refused", **about, reason=error.reason)
    if undone:
        return "; what it took of it was taken back"
    _log.error("change.half-written", **about, server_holds=held.to_json())
    return "; what it took of it could not be taken back, and the delegation needs a look"
