"""The earlier messages that asked for a change which waits for an operator; the latest one stands in the change itself.

No change outlives the trust in the keys of all its askers, and any one of them that is trusted is enough. A front end
needs no key: what it asked for lives on, whatever becomes of the child's.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, delete, func, insert, select

from zonecut.store import tables
from zonecut.store.errors import InvalidTransition
from zonecut.store.key_values import ROLLED, KeyState
from zonecut.store.ledger.change_values import Remembered, StoredChange

MAX_ASKERS = 100
"""So many messages of one change are kept, and the latest one of each key and of front ends."""

_TABLE, _CHANGES, _KEYS = tables.askers, tables.changes, tables.keys
_COPIED = ("key_id", "source", "message", "identity", "expires_at", "inception")


def keep(connection: Connection, change_id: int) -> None:
    """Keep the message that stands in a change, which another one is about to take the place of."""
    copied = select(_CHANGES.c.id, *(_CHANGES.c[name] for name in _COPIED)).where(_CHANGES.c.id == change_id)
    connection.execute(insert(_TABLE).from_select(["change_id", *_COPIED], copied))
    ours = _TABLE.c.change_id == change_id
    newest = select(_TABLE.c.id).where(ours).order_by(_TABLE.c.id.desc()).limit(MAX_ASKERS)
    of_keys = select(func.max(_TABLE.c.id)).where(ours).group_by(_TABLE.c.key_id, _TABLE.c.inception.is_(None))
    connection.execute(delete(_TABLE).where(ours, _TABLE.c.id.not_in(newest), _TABLE.c.id.not_in(of_keys)))


def of_change(connection: Connection, change: StoredChange) -> Sequence[StoredChange]:
    """A change as its earlier askers asked for it, the latest first."""
    columns = (_TABLE.c.key_id, _TABLE.c.source, _TABLE.c.message, _TABLE.c.identity, _TABLE.c.inception)
    rows = connection.execute(select(*columns).where(_TABLE.c.change_id == change.id).order_by(_TABLE.c.id.desc()))
    return [
        replace(
            change,
            key_id=row.key_id,
            source=row.source,
            message=row.message,
            identity=row.identity,
            inception=row.inception,
        )
        for row in rows
    ]


def remembered(connection: Connection, now: float) -> Sequence[Remembered]:
    """The identities of earlier askers that expire after `now`, in that order."""
    columns = (_TABLE.c.identity, _TABLE.c.expires_at, _TABLE.c.change_id, _CHANGES.c.state)
    query = (
        select(*columns)
        .join_from(_TABLE, _CHANGES, _CHANGES.c.id == _TABLE.c.change_id)
        .where(_TABLE.c.identity.is_not(None), _TABLE.c.expires_at > now)
        .order_by(_TABLE.c.expires_at, _TABLE.c.id)
    )
    return [Remembered.from_row(row) for row in connection.execute(query)]


def check_word(connection: Connection, change: StoredChange) -> None:
    """Raise InvalidTransition where no key of those who asked for a change is trusted any more."""
    everybody = (change, *of_change(connection, change))
    if any(each.inception is None for each in everybody):
        return
    numbers = {each.key_id for each in everybody} - {None}
    columns = (_KEYS.c.tag, _KEYS.c.state, _KEYS.c.reason)
    rows = connection.execute(select(*columns).where(_KEYS.c.id.in_(numbers)).order_by(_KEYS.c.id.desc())).all()
    if any(row.state == KeyState.TRUSTED.value for row in rows):
        return
    if any(row.state == KeyState.SUPERSEDED.value and row.reason == ROLLED for row in rows):
        # the child has gone on to another key, which answers for it
        trusted = _KEYS.c.owner == change.child, _KEYS.c.state == KeyState.TRUSTED.value
        if connection.execute(select(_KEYS.c.id).where(*trusted).limit(1)).first() is not None:
            return
    gone = "the key that signed it is gone"
    keys = [f"key {row.tag} is {row.state}" + (f" ({row.reason})" if row.reason else "") for row in rows]
    raise InvalidTransition(
        f"change {change.id} cannot be approved, since no key that asked for it is trusted: {', '.join(keys) or gone}."
        " Reject it; a child that wants it still signs it anew with a trusted key"
    )
