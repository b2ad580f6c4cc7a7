"""Checks of a store when it is opened: its version, whether it accepts writes, and required settings."""

from dataclasses import dataclass
from typing import Any, Final

from libs import telemetry
from libs.store.errors import StoreIncompatible, StoreUnavailable

SERVER_VERSION_MIN: Final = 15
LOCKS_MIN: Final = 512
"""Locks a transaction may have on average: tables are cut in dozens of partitions, and a query may touch them all."""

SETTINGS: Final = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "max_locks_per_transaction",
    "max_prepared_transactions",
)
_READ: Final = (
    "select current_setting('transaction_read_only') as read_only, pg_is_in_recovery() as standby, "
    + ", ".join(f"current_setting('{name}') as {name}" for name in SETTINGS)
)

_log = telemetry.get_logger()
_warned: set[tuple[str, str, str]] = set()


@dataclass(frozen=True, slots=True)
class Finding:
    """A setting of the server that should be another one."""

    setting: str
    value: str
    recommended: str
    reason: str


def findings(settings: dict[str, str]) -> list[Finding]:
    """Judge settings by name (those of `SETTINGS`)."""
    found = [
        Finding(name, "off", "on", "a crash of the server or a power cut may lose or damage what was committed")
        for name in ("fsync", "synchronous_commit", "full_page_writes")
        if settings[name] == "off"
    ]
    locks, prepared = settings["max_locks_per_transaction"], settings["max_prepared_transactions"]
    if int(locks) < LOCKS_MIN:
        why = "tables are cut in partitions by day and by hash; a transaction that touches many runs out of locks"
        found.append(Finding("max_locks_per_transaction", locks, f"at least {LOCKS_MIN}", why))
    if int(prepared) > 0:
        why = "a prepared transaction that nobody ends holds every feed of the server back"
        found.append(Finding("max_prepared_transactions", prepared, "0", why))
    return found


async def check_server(raw: Any, major: int, database: str) -> None:
    """Look at a server that was just connected to, and warn (STORE_SETTING) of settings, each once a process.

    `raw` is the driver's connection. Raises `StoreIncompatible` for a version that is too old and `StoreUnavailable`
    (reason `read_only`) for a server that takes no writes.
    """
    if major < SERVER_VERSION_MIN:
        raise StoreIncompatible(
            f"database {database}: the server is PostgreSQL {major}; Luxor needs {SERVER_VERSION_MIN} or newer. "
            "Upgrade the server, or point the service's database URL at another one.",
            database=database,
        )
    row = await raw.fetchrow(_READ)
    _refuse_read_only(row, database)
    for each in findings({name: row[name] for name in SETTINGS}):
        key = (database, each.setting, each.value)
        if key not in _warned:
            _warned.add(key)
            hint = f"set {each.setting} = {each.recommended} in the server's configuration"
            _log.warning(
                "STORE_SETTING", store=database, setting=each.setting, value=each.value, why=each.reason, hint=hint
            )


async def require_writable(database: Any) -> None:
    """Check that the open `database` accepts writes; raise `StoreUnavailable`, with reason `read_only`, if not."""
    async with database.connection(timeout_millis=3_000) as reader:
        row = await reader.raw.fetchrow(
            "select current_setting('transaction_read_only') as read_only, pg_is_in_recovery() as standby"
        )
    _refuse_read_only(row, database.name)


def _refuse_read_only(row: Any, database: str) -> None:
    if row["read_only"] != "on":
        return
    why = "a standby" if row["standby"] else "set read-only (default_transaction_read_only)"
    raise StoreUnavailable(
        f"database {database}: the server takes no writes, it is {why}. Point the database URL at the primary, or "
        "promote this server; it is tried again by itself",
        reason="read_only",
        database=database,
    )
