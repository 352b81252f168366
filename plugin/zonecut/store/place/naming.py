"""The name of a store: a random one that its database and its mark share, so that neither counts without the other.

It is given once, to a new store or to one of an older version. The mark has it first, and on the disk: whatever kills
the process leaves a mark without a row, which the next one takes up, and never a row without a mark.
"""

import os
import secrets
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection, insert, select, update

from zonecut.store import tables
from zonecut.store.engine import begin
from zonecut.store.place.lock import holder
from zonecut.store.place.mark import Mark, MarkFile, Restored, holds, newest

_TABLE = tables.store_name
_OCTETS = 16
_PLACE = select(_TABLE.c.served_at)
_NAME = select(_TABLE.c.name)


def name_of(connection: Connection) -> str | None:
    """The name of a store; None where it has none yet."""
    return connection.execute(_NAME).scalar_one_or_none()


def compare(connection: Connection, file: MarkFile) -> tuple[Mark | None, Restored | None]:
    """The mark of a store, and what it says against it, see `judge`. No transaction is under way on `connection`.

    A store that has a name and no mark, or none that can be read, is a copy that came here without it; and one whose
    mark is a copy came here with it.
    """
    name = name_of(connection)  # first: who gives one to a store has written it into the mark before
    mark = file.read()
    if mark is None and name is not None:
        return None, Restored(None, newest(connection), file.path)
    if mark is not None and mark.copied:
        return None, Restored(None, newest(connection), file.path, copied=True)
    return mark, judge(connection, mark, file.path)


def judge(connection: Connection, mark: Mark | None, path: Path) -> Restored | None:
    """What a mark says against a store: that it misses what the mark tells of, or that they are not of one store.

    `path` is that of the mark. It was read before the transaction began that may be under way on `connection`.
    """
    if mark is None:
        return None
    name = name_of(connection)
    another = None not in (name, mark.store) and name != mark.store
    return Restored(mark, newest(connection), path, another) if another or not holds(connection, mark) else None


def establish(connection: Connection, file: MarkFile, inode: int | None) -> None:
    """Give a store that was not restored its name, and the mark that name, where one of them has none.

    `inode` is that of the SQLite file. Raises OSError where the mark cannot be written: the next start tries again.
    """
    mark, name = file.read(), name_of(connection)
    connection.rollback()
    if name is not None and mark is not None and mark.store == name:
        return
    begin(connection, write=True)  # of two processes the second finds what the first has done
    mark, name = file.read(), name_of(connection)
    given = name or (None if mark is None else mark.store) or secrets.token_hex(_OCTETS)
    if mark is None or mark.store != given:
        file.write(replace(mark or newest(connection), file=inode, store=given), lasting=True)
    if name is None:
        connection.execute(insert(_TABLE), {"id": 1, "name": given})
    connection.commit()


def serve_at(connection: Connection, path: Path) -> None:
    """Record where the daemon has the store."""
    place = connection.execute(_PLACE).scalar_one_or_none()
    connection.rollback()
    if place != str(path):
        begin(connection, write=True)
        connection.execute(update(_TABLE), {"served_at": str(path)})
        connection.commit()


def served_elsewhere(connection: Connection, path: Path) -> str | None:
    """A sentence about a store that is a copy of the one that a running daemon has; None where it is no such copy."""
    place = connection.execute(_PLACE).scalar_one_or_none()
    connection.rollback()
    if place is None or place == str(path):
        return None
    original = Path(place)
    daemon = holder(original)
    try:
        if daemon is None or daemon.pid == os.getpid() or original.samefile(path):
            return None
    except OSError:
        return None
    return f"{path} is a copy of {original}, which zonecut serve has ({daemon}): what is done here does not reach it"
