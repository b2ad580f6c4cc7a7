"""History of what was assessed, as columns for rules and the model. See docs/risk/history.md."""

from libs.columns.packing import PackingError
from services.risk.history.columns import DESCRIBED
from services.risk.history.columns import HistoryColumns as HistoryColumns
from services.risk.history.history import Bounds, History
from services.risk.history.outcomes import Outcomes
from services.risk.history.party_keys import Hasher, party_keys
from services.risk.history.record import KeyKind, Record
from services.risk.history.snapshot import Snapshot, restore
from services.risk.history.snapshot_file import SnapshotError

__all__ = [
    "DESCRIBED",
    "Bounds",
    "Hasher",
    "History",
    "HistoryColumns",
    "KeyKind",
    "Outcomes",
    "PackingError",
    "Record",
    "Snapshot",
    "SnapshotError",
    "party_keys",
    "restore",
]
