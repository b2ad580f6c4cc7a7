"""History of what was assessed, as columns for rules and the model. See docs/risk/history.md."""

from libs.columns.packing import PackingError
from services.risk.history.columns import DESCRIBED
from services.risk.history.columns import History as HistoryColumns
from services.risk.history.history import Bounds, History
from services.risk.history.keys import Hasher, party_keys, record_of
from services.risk.history.outcomes import Outcomes
from services.risk.history.record import Kind, Record
from services.risk.history.snapshot_file import SnapshotError
from services.risk.history.snapshots import Snapshot, restore

__all__ = [
    "DESCRIBED",
    "Bounds",
    "Hasher",
    "History",
    "HistoryColumns",
    "Kind",
    "Outcomes",
    "PackingError",
    "Record",
    "Snapshot",
    "SnapshotError",
    "party_keys",
    "record_of",
    "restore",
]
