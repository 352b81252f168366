"""What MariaDB's error numbers mean, as errors of the plugin interface; those of the driver begin with 2."""

from zonecut.plugin import BackendError, BackendMisconfigured, BackendRejected, BackendUnavailable

READ_ONLY = "it is read-only, a replica or with read_only on; the URL has to lead to the primary"
_NOT_TAKEN = (BackendRejected, "the tables do not take such a record")
_NOT_OURS = (BackendMisconfigured, "its tables are not those of zonecut")
_NOT_LET_IN = (BackendMisconfigured, "it does not let us in")
_NOT_ALLOWED = (BackendMisconfigured, "a permission is missing")
_FULL = (BackendUnavailable, "the disk is full")
_TOO_MANY = (BackendUnavailable, "it has too many connections")
_IN_THE_WAY = (BackendUnavailable, "somebody else's transaction is in the way")
_HELD = (BackendUnavailable, "somebody else's transaction holds a lock")
_TOO_LONG = (BackendUnavailable, "it took too long")
_LOST = (BackendUnavailable, "the connection was lost")
_LOGGED = (
    "with a binary log, only an administrator makes triggers: have one run sql/mariadb.sql, or set"
    " log_bin_trust_function_creators"
)

MEANINGS: dict[int, tuple[type[BackendError], str]] = {
    1005: _NOT_OURS,
    1020: _IN_THE_WAY,
    1021: _FULL,
    1040: _TOO_MANY,
    1044: _NOT_LET_IN,
    1045: _NOT_LET_IN,
    1046: (BackendMisconfigured, "there is no such database"),
    1048: _NOT_TAKEN,
    1049: (BackendMisconfigured, "there is no such database"),
    1053: (BackendUnavailable, "it is shutting down"),
    1054: _NOT_OURS,
    1062: _NOT_TAKEN,
    1114: _FULL,
    1129: (BackendMisconfigured, "it has blocked this host: mariadb-admin flush-hosts"),
    1130: _NOT_LET_IN,
    1142: _NOT_ALLOWED,
    1143: _NOT_ALLOWED,
    1146: _NOT_OURS,
    1153: (BackendRejected, "it does not take as much at once: max_allowed_packet"),
    1176: _NOT_OURS,
    1203: _TOO_MANY,
    1205: _HELD,
    1213: _IN_THE_WAY,
    1226: _TOO_MANY,
    1227: _NOT_ALLOWED,
    1264: _NOT_TAKEN,
    1265: _NOT_TAKEN,
    1290: (BackendMisconfigured, READ_ONLY),
    1317: _TOO_LONG,
    1366: _NOT_TAKEN,
    1370: _NOT_ALLOWED,
    1406: _NOT_TAKEN,
    1411: _NOT_TAKEN,
    1419: (BackendMisconfigured, _LOGGED),
    1449: (
        BackendMisconfigured,
        "the account is gone that made the tables: have another one run sql/mariadb.sql again",
    ),
    1452: _NOT_TAKEN,
    1644: (BackendRejected, "a trigger does not take it"),
    1665: (BackendMisconfigured, "binlog_format = STATEMENT cannot log what we write: set it to MIXED or ROW"),
    1698: _NOT_LET_IN,
    1792: (BackendMisconfigured, READ_ONLY),
    1820: _NOT_LET_IN,
    1836: (BackendMisconfigured, READ_ONLY),
    1862: _NOT_LET_IN,
    1927: _LOST,
    1969: _TOO_LONG,
    2013: _LOST,
    2026: _NOT_LET_IN,
    2059: _NOT_LET_IN,
    3159: _NOT_LET_IN,
    4025: _NOT_TAKEN,
    4151: _NOT_LET_IN,
}
"""By error number. What is not here may be otherwise a little later."""
SAYING_READ_ONLY = frozenset((1290, 1792, 1836))
IN_THE_WAY = frozenset((1020, 1205, 1213))
"""What may succeed when the same transaction is repeated at once."""
FORBIDDEN = frozenset((1142, 1143))
"""A right that is missing on a table, or on a column of it."""
