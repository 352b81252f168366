"""What zonecut remembers: child keys, the ledger of changes, the audit trail. SQLite by default.

`Store.open(url)` gives `keys`, `ring`, `changes` and `audit`; every error is a `StoreError` with a sentence in it.
"""

from zonecut.store.agents import AgentTable, StoredAgent
from zonecut.store.audit import AuditEntry, AuditRecord
from zonecut.store.chores import Chore, Chores
from zonecut.store.errors import (
    HeldBack,
    InvalidTransition,
    NotInStore,
    QuotaExceeded,
    StoreConflict,
    StoreError,
    StoreReplaced,
    StoreRestored,
    StoreUnavailable,
    StoreUnusable,
)
from zonecut.store.key_values import KeyState, StoredKey
from zonecut.store.keys.bootstrap_values import FORGEABLE, Acceptance, Accepted, Bootstrap, Roll, Unpublished, Upload
from zonecut.store.keys.bootstraps import SETTLED, TRUSTED_ANEW, BootstrapTable
from zonecut.store.keys.keyring import KeyRing, RingKey
from zonecut.store.keys.keys import KeyTable
from zonecut.store.keys.watches import Away, Watch, WatchTable
from zonecut.store.ledger.change_values import (
    AcceptedChange,
    Attempt,
    ChangeKind,
    ChangeState,
    ChildRecord,
    Decision,
    NewChange,
    Remembered,
    Settlement,
    StoredChange,
)
from zonecut.store.ledger.changes import ChangeTable
from zonecut.store.ledger.child_ledgers import AppliedChange, ChildLedger, ChildLedgers
from zonecut.store.ledger.decisions import Asker, DecisionTable
from zonecut.store.place.mark import Mark, Restored
from zonecut.store.statistics import Statistics, Waiting
from zonecut.store.store import Store
from zonecut.store.zone_consumers import ZoneConsumer, ZoneConsumers
from zonecut.store.zone_serials import ZoneSerial, ZoneSerials
from zonecut.store.zone_states import ServerState, ZoneState, ZoneStates

__all__ = [
    "FORGEABLE",
    "SETTLED",
    "TRUSTED_ANEW",
    "Store",
    "KeyTable",
    "StoredKey",
    "KeyState",
    "KeyRing",
    "RingKey",
    "ChangeTable",
    "NewChange",
    "AcceptedChange",
    "Asker",
    "Attempt",
    "Decision",
    "DecisionTable",
    "Settlement",
    "StoredChange",
    "ChangeState",
    "ChangeKind",
    "ChildRecord",
    "ChildLedger",
    "ChildLedgers",
    "AppliedChange",
    "Chore",
    "Chores",
    "ZoneConsumer",
    "ZoneConsumers",
    "ZoneSerial",
    "ZoneSerials",
    "ZoneStates",
    "ZoneState",
    "ServerState",
    "WatchTable",
    "Watch",
    "Away",
    "Statistics",
    "Waiting",
    "Remembered",
    "Mark",
    "Restored",
    "AgentTable",
    "StoredAgent",
    "AuditEntry",
    "AuditRecord",
    "StoreError",
    "StoreUnavailable",
    "StoreReplaced",
    "StoreRestored",
    "StoreUnusable",
    "StoreConflict",
    "HeldBack",
    "InvalidTransition",
    "NotInStore",
    "QuotaExceeded",
    "Acceptance",
    "Accepted",
    "Bootstrap",
    "BootstrapTable",
    "Roll",
    "Unpublished",
    "Upload",
]
