"""What the database's errors mean, as errors of the plugin interface. Its own words are kept, in brackets."""

import re
import sqlite3

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from zonecut.plugin import BackendError, BackendMisconfigured, BackendRejected, BackendUnavailable
from zonecut_database import mariadberrors

_SQLITE = {
    "SQLITE_FULL": (BackendUnavailable, "the disk is full"),
    "SQLITE_BUSY": (BackendUnavailable, "somebody else's transaction holds its lock"),
    "SQLITE_LOCKED": (BackendUnavailable, "somebody else's transaction holds its lock"),
    "SQLITE_INTERRUPT": (BackendUnavailable, "it took too long"),
    "SQLITE_IOERR": (BackendUnavailable, "reading or writing the file failed"),
    "SQLITE_CONSTRAINT": (BackendRejected, "the tables do not take such a record"),
    "SQLITE_TOOBIG": (BackendRejected, "the tables do not take such a record"),
    "SQLITE_READONLY": (BackendMisconfigured, "it is read-only"),
    "SQLITE_PERM": (BackendMisconfigured, "the permissions of the file forbid it"),
    "SQLITE_AUTH": (BackendMisconfigured, "the permissions of the file forbid it"),
    "SQLITE_CANTOPEN": (BackendMisconfigured, "the file cannot be opened"),
    "SQLITE_CORRUPT": (BackendMisconfigured, "the file is damaged"),
    "SQLITE_NOTADB": (BackendMisconfigured, "the file is no SQLite database"),
    "SQLITE_ERROR": (BackendMisconfigured, "its tables are not those of zonecut"),
}
READ_ONLY = (
    "it is read-only, a standby or with default_transaction_read_only on; where there are several, name them all in"
    " the URL, as ?host=a:5432&host=b:5432"
)
_POSTGRESQL = {
    "22": (BackendRejected, "the tables do not take such a record"),
    "23": (BackendRejected, "the tables do not take such a record"),
    "25006": (BackendMisconfigured, READ_ONLY),
    "28": (BackendMisconfigured, "it does not let us in"),
    "3D": (BackendMisconfigured, "there is no such database"),
    "3F": (BackendMisconfigured, "there is no such schema"),
    "40": (BackendUnavailable, "somebody else's transaction is in the way"),
    "42501": (BackendMisconfigured, "a permission is missing"),
    "42703": (BackendMisconfigured, "its tables are not those of zonecut"),
    "42710": (BackendMisconfigured, "its tables are not those of zonecut"),
    "42723": (BackendMisconfigured, "its tables are not those of zonecut"),
    "42P01": (BackendMisconfigured, "its tables are not those of zonecut"),
    "42P07": (BackendMisconfigured, "its tables are not those of zonecut"),
    "53100": (BackendUnavailable, "the disk is full"),
    "53300": (BackendUnavailable, "it has too many connections"),
    "55P03": (BackendUnavailable, "somebody else's transaction holds a lock"),
    "57014": (BackendUnavailable, "it took too long"),
    "P0001": (BackendRejected, "a trigger does not take it"),
}
"""By SQLSTATE or its beginning; the longest that fits counts."""
_NOT_NOW = re.compile(
    r"start(ing)? up|shutting down|recovery|too many|connection slots|not yet accepting", re.IGNORECASE
)
_IN_THE_WAY = ("40001", "40P01", "55P03")
"""What may succeed when the same transaction is repeated at once."""
_TAKES_NO_CHANGES = re.compile(r"session is read-only|server is in hot standby", re.IGNORECASE)
_SEVERAL_FAILED = "multiple connection attempts failed"
"""psycopg tries the hosts of a URL one by one."""


def explained(error: SQLAlchemyError, where: str) -> BackendError:
    """The error to raise for one of the database `where`."""
    original = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    kind, meaning = _meaning(original)
    said = _one_line(original)
    return kind(f"{where}: {meaning} ({said})" if meaning else f"{where}: {said}")


def is_in_the_way(error: SQLAlchemyError) -> bool:
    """True if somebody else's transaction was in the way of a server carrying out ours."""
    original = getattr(error, "orig", None)
    return _sqlstate(original) in _IN_THE_WAY or _number(original) in mariadberrors.IN_THE_WAY


def is_read_only(error: SQLAlchemyError) -> bool:
    """True if a server took a statement for one that a session like ours may not execute: all of it is read-only."""
    original = getattr(error, "orig", None)
    return _sqlstate(original) == "25006" or _number(original) in mariadberrors.SAYING_READ_ONLY


def is_forbidden(error: SQLAlchemyError) -> bool:
    """True if MariaDB says that a permission is missing."""
    return _number(getattr(error, "orig", None)) in mariadberrors.FORBIDDEN


def _meaning(original: BaseException) -> tuple[type[BackendError], str]:
    if isinstance(original, sqlite3.Error):
        name = getattr(original, "sqlite_errorname", "")
        return next((known for prefix, known in _SQLITE.items() if name.startswith(prefix)), (BackendUnavailable, ""))
    if (number := _number(original)) is not None:
        return _of_mariadb(number, str(original))
    sqlstate = _sqlstate(original)
    for length in (5, 2):
        if sqlstate[:length] in _POSTGRESQL:
            return _POSTGRESQL[sqlstate[:length]]
    text = str(original)
    if not sqlstate and _TAKES_NO_CHANGES.search(text):
        several = _SEVERAL_FAILED in text
        return (
            (BackendUnavailable, "none of its servers takes changes") if several else (BackendMisconfigured, READ_ONLY)
        )
    # libpq hands out no SQLSTATE for a connection that does not come about
    if not sqlstate and (("FATAL" in text and not _NOT_NOW.search(text)) or "SSL" in text or "certificate" in text):
        return BackendMisconfigured, "it does not let us in"
    return BackendUnavailable, ""


def _of_mariadb(number: int, text: str) -> tuple[type[BackendError], str]:
    if number == 2003 and "certificate" in text.lower():
        number = 2026
    return mariadberrors.MEANINGS.get(number, (BackendUnavailable, ""))


def _number(original: BaseException | None) -> int | None:
    """MariaDB's error number: PyMySQL has it in front of the words."""
    first = original.args[0] if original is not None and original.args else None
    return first if isinstance(first, int) else None


def _sqlstate(original: BaseException | None) -> str:
    return getattr(original, "sqlstate", None) or ""


def _one_line(original: BaseException) -> str:
    """What the database said, without the lines that quote the statement."""
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    if primary is None and _number(original) is not None and len(original.args) > 1:
        primary = f"{original.args[1]}"
    return " ".join((primary or str(original)).split()) or type(original).__name__
