"""The rows of keys on their way to trust: how one comes in, and when it is looked at. Inside a transaction."""

import json
import math
from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, insert, or_, select, update

from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.store import tables
from zonecut.store.errors import QuotaExceeded
from zonecut.store.key_values import KeyState, StoredKey
from zonecut.store.keys.bootstrap_values import FORGEABLE, Bootstrap, Upload

_TABLE = tables.bootstraps


def is_row_of(bootstrap: Bootstrap) -> ColumnElement[bool]:
    """The row of this bootstrap, and of no other that the same key had or has."""
    return and_(_TABLE.c.key_id == bootstrap.key_id, _TABLE.c.started_at == bootstrap.started_at)


def from_row(row: Any) -> Bootstrap:
    """The value of a row."""
    values = dict(row._mapping)
    values["evidence"] = json.loads(values["evidence"])
    return Bootstrap(**values)


def insert_row(
    connection: Connection,
    stored: StoredKey,
    zone: bytes,
    source: str,
    *,
    replaces: bool,
    manual: bool,
    now: float,
    next_at: float,
    expires_at: float = math.inf,
    reason: str = "",
    looked_at: float = 0.0,
) -> None:
    """Begin the bootstrap of a key that has none."""
    row = {
        "key_id": stored.id,
        "owner": stored.key.owner,
        "zone": zone,
        "source": source,
        "replaces": replaces,
        "manual": manual,
        "method": "",
        "attempts": 0,
        "reason": reason,
        "evidence": "{}",
        "started_at": now,
        "next_at": next_at,
        "expires_at": expires_at,
        "looked_at": looked_at,
        "wanted_at": None,
        "asked": 0,
        "judged": None,
        "no_ds_since": _no_ds_since(connection, stored.key.owner),
    }
    connection.execute(insert(_TABLE), row)


def check_quota(connection: Connection, upload: Upload) -> None:
    """Raise QuotaExceeded where too many keys are pending.

    Anybody can take the places of a child, and all places there are. What a child publishes has as many again, of each
    child and in all, and whose it is does not depend on who else sends from where it comes from.
    """
    child = names.to_text(upload.key.owner)
    bounds: list[tuple[ColumnElement[bool] | None, int, str]] = [
        (_TABLE.c.owner == upload.key.owner, upload.max_per_child, f"keys of {child} are pending"),
        (_TABLE.c.source == upload.source, upload.max_per_source, "keys from this source are pending"),
        (None, upload.max_in_all, "keys are pending"),
    ]
    if upload.is_published:
        bounds = [(condition, 2 * most, what) for condition, most, what in (bounds[0], bounds[2])]
    for condition, most, what in bounds:
        query = select(func.count()).select_from(_TABLE)
        count = connection.execute(query if condition is None else query.where(condition)).scalar_one()
        if count >= most:
            raise QuotaExceeded(f"{count} {what}, and no more than {most} are taken")


def due_in_turn(zone: bytes, now: float, limit: int, exclude: Collection[int]) -> Select[Any]:
    """The rows of which a look is due or wanted, by turns of their sources.

    One source that brings very many keys, as anybody can, keeps nobody else waiting for more than one of them. All that
    came in datagrams is one source: addresses are forged there, as many as anybody likes.
    """
    is_due = or_(and_(_TABLE.c.manual.is_(False), _TABLE.c.next_at <= now), _TABLE.c.wanted_at <= now)
    source = case((_TABLE.c.source.endswith(FORGEABLE), FORGEABLE), else_=_TABLE.c.source)
    turn = func.row_number().over(partition_by=source, order_by=(_TABLE.c.attempts, _TABLE.c.next_at))
    due = select(_TABLE.c.key_id, turn.label("turn")).where(_TABLE.c.zone == zone, is_due).subquery()
    return (
        select(_TABLE)
        .join(due, due.c.key_id == _TABLE.c.key_id)
        .where(_TABLE.c.key_id.not_in(list(exclude)))
        .order_by(due.c.turn, _TABLE.c.attempts, _TABLE.c.next_at)
        .limit(limit)
    )


def without_place(connection: Connection, upload: Upload) -> int | None:
    """The key that gives its place to one that its child publishes: the one that has waited longest of those that the
    child does not publish; None where there is none, or where nobody has to."""
    of_child = _TABLE.c.owner == upload.key.owner
    taken = connection.execute(select(func.count()).select_from(_TABLE).where(of_child)).scalar_one()
    if not upload.published or taken < 2 * upload.max_per_child:
        return None
    keys = tables.keys
    waiting = (
        select(keys.c.id, keys.c.rdata)
        .join(_TABLE, _TABLE.c.key_id == keys.c.id)
        .where(of_child, _TABLE.c.expires_at < math.inf)
        .order_by(_TABLE.c.started_at, keys.c.id)
    )
    return next((row.id for row in connection.execute(waiting) if row.rdata not in upload.published), None)


def looked_in_vain(connection: Connection, stored: StoredKey | None, now: float) -> float:
    """When a key that begins was looked at just before, and failed; 0 for any other."""
    if stored is None or stored.state is not KeyState.VALIDATION_FAILED:
        return 0.0
    return min(max(stored.changed_at, _latest_look(connection, stored.key.owner, now)), now)


def uploaded_again(connection: Connection, stored: StoredKey, upload: Upload, now: float) -> None:
    """What it means for a bootstrap under way that its key comes again.

    It may ask for more than before, that the child's other keys go; and it is a reason to look, if there is a method
    that does.
    """
    if upload.replaces:
        row = and_(_TABLE.c.key_id == stored.id, _TABLE.c.replaces.is_(False))
        connection.execute(update(_TABLE).where(row).values(replaces=True))
    if not upload.manual:
        bring_forward(connection, _TABLE.c.key_id == stored.id, stored.key.owner, upload.cool_down, now)


def begin_anew(connection: Connection, stored: StoredKey, upload: Upload, now: float) -> None:
    """Have a known key looked at now, with all its attempts before it."""
    values = {
        "zone": upload.zone,
        "manual": upload.manual,
        "attempts": 0,
        "next_at": now,
        "wanted_at": None,
        "expires_at": upload.expires_at,
        "asked": _TABLE.c.asked + 1,
    }
    if not connection.execute(update(_TABLE).where(_TABLE.c.key_id == stored.id).values(values)).rowcount:
        insert_row(
            connection,
            stored,
            upload.zone,
            upload.source,
            replaces=upload.replaces,
            manual=upload.manual,
            now=now,
            next_at=now,
            expires_at=upload.expires_at,
        )


def bring_forward(
    connection: Connection, condition: ColumnElement[bool], owner: bytes, cool_down: float, now: float
) -> int:
    """Have a child's keys that wait looked at, at once or when `cool_down` seconds have passed since it was last.

    That is a look beside those that are due: it moves none of them. A key that waits for an operator without end is
    left to him. How many there were.
    """
    count: int = connection.execute(
        select(func.count()).select_from(_TABLE).where(condition, _TABLE.c.expires_at < math.inf)
    ).scalar_one()
    if count:
        soonest = max(now, _latest_look(connection, owner, now) + cool_down)
        # an attempt that is under way may have seen what was there before: `asked` tells it when it ends
        connection.execute(
            update(_TABLE)
            .where(condition, _TABLE.c.expires_at < math.inf)
            .values(wanted_at=soonest, asked=_TABLE.c.asked + 1)
        )
    return count


def record_look(connection: Connection, bootstrap: Bootstrap, cool_down: float, now: float) -> None:
    """Record how an attempt ended; where somebody wanted a look after it had begun, there is another one."""
    asked = connection.execute(select(_TABLE.c.asked).where(is_row_of(bootstrap))).scalar()
    if asked is None:
        return
    connection.execute(
        update(_TABLE)
        .where(is_row_of(bootstrap))
        .values(
            manual=bootstrap.manual,
            method=bootstrap.method,
            attempts=bootstrap.attempts,
            reason=bootstrap.reason,
            evidence=json.dumps(bootstrap.evidence),
            next_at=bootstrap.next_at,
            expires_at=bootstrap.expires_at,
            looked_at=bootstrap.looked_at,
            wanted_at=bootstrap.wanted_at if asked == bootstrap.asked else now + cool_down,
            judged=bootstrap.judged,
            no_ds_since=bootstrap.no_ds_since,
        )
    )


def _no_ds_since(connection: Connection, owner: bytes) -> float | None:
    """What is on record of a child's DS: as it was seen while another key of it waited, or held when it was trusted."""
    others = select(func.max(_TABLE.c.no_ds_since)).where(_TABLE.c.owner == owner)
    since: float | None = connection.execute(others).scalar()
    if since is not None:
        return since
    changes, watches = tables.changes, tables.watches
    applied = (
        select(changes.c.after)
        .where(changes.c.child == owner, changes.c.state == "applied", changes.c.kind == "delegation")
        .order_by(changes.c.id.desc())
        .limit(1)
    )
    held = connection.execute(applied).scalar()
    if held is None:
        held = connection.execute(select(watches.c.began).where(watches.c.child == owner)).scalar()
    return math.inf if held is not None and Delegation.from_wire(held).ds else None


def _latest_look(connection: Connection, owner: bytes, now: float) -> float:
    """When any key of a child that waits was looked at last; now at the latest, where the clock was set back since."""
    query = select(func.max(_TABLE.c.looked_at)).where(_TABLE.c.owner == owner)
    return min(float(connection.execute(query).scalar() or 0.0), now)
