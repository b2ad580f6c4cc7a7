"""What a caller may see of the store's failures: never a statement, never a value.

The driver's messages quote rows ("Key (name)=(...) already exists"), so they stay inside. What leaves is the SQLSTATE,
the names of the constraint, table and column (identifiers of our own schema), and whether trying again can help.
"""

import re
from typing import Final

import asyncpg
from sqlalchemy import exc as sqlalchemy_errors


class StoreError(Exception):
    """The root of all that the store raises.

    `database` is the name given to `Database`, `sqlstate` the server's code ("" where the server did not speak),
    `constraint`, `table` and `column` the schema's names where the server told them ("" otherwise).
    """

    def __init__(
        self,
        message: str,
        *,
        database: str = "",
        sqlstate: str = "",
        constraint: str = "",
        table: str = "",
        column: str = "",
    ) -> None:
        super().__init__(message)
        self.database = database
        self.sqlstate = sqlstate
        self.constraint = constraint
        self.table = table
        self.column = column


class StoreUnavailable(StoreError):
    """Passing trouble: the same work may succeed later, nothing is wrong with it.

    `reason` is one of `connection`, `starting`, `too_many_connections`, `pool`, `deadlock`, `serialization`,
    `timeout`, `lock`, `disk_full`, `io`, `memory`, `read_only`, `stale_plan`, `schema` (who is to migrate it has not yet).
    `commit_unknown` is True where the connection broke while the server was committing: the work may or may not have
    taken effect, so only work that is idempotent may be repeated. `full` is True where the disk of the server is full, or
    was when the server was heard last: a server that cannot write its log any more restarts, and is not there meanwhile.
    """

    def __init__(
        self, message: str, *, reason: str, database: str = "", sqlstate: str = "", commit_unknown: bool = False
    ) -> None:
        super().__init__(message, database=database, sqlstate=sqlstate)
        self.reason = reason
        self.commit_unknown = commit_unknown
        self.full = reason == "disk_full"


class StoreConflict(StoreError):
    """A constraint of the schema refused the rows (SQLSTATE class 23); `constraint` names it."""


class StoreMisuse(StoreError):
    """A mistake of ours: a statement, type or right that no repetition will cure."""


class StoreIncompatible(StoreError):
    """A version of the server, its data or the schema that this release cannot work with; the message says what to
    do."""


_TRANSIENT: Final[dict[str, tuple[str, str]]] = {
    "0A000": ("stale_plan", "the schema changed under a prepared statement"),
    "25006": ("read_only", "the server is read-only (a standby?)"),
    "25P03": ("timeout", "the transaction idled longer than its limit"),
    "25P04": ("timeout", "the transaction lasted longer than its limit"),
    "40001": ("serialization", "concurrent transactions could not be put in order"),
    "40003": ("connection", "the connection broke and the outcome is unknown"),
    "40P01": ("deadlock", "the transaction was chosen to end a deadlock"),
    "53000": ("memory", "the server is short of a resource"),
    "53100": ("disk_full", "the server's disk is full"),
    "53200": ("memory", "the server is out of memory"),
    "53300": ("too_many_connections", "the server has no free connection"),
    "55006": ("lock", "an object is in use"),
    "55P03": ("lock", "a lock was not granted in time"),
    "57014": ("timeout", "a statement lasted longer than its limit"),
    "57P01": ("connection", "the server is shutting down"),
    "57P02": ("connection", "the server crashed"),
    "57P03": ("starting", "the server is starting or recovering"),
    "57P05": ("connection", "the server closed an idle session"),
    "58000": ("io", "the server failed to use its machine"),
    "58030": ("io", "the server failed to read or write its disk"),
}

# Messages of these classes speak of identifiers, roles, locks and versions, never of rows, so they may leave.
_SPEAKABLE_CLASSES: Final = frozenset({"0A", "25", "26", "28", "34", "3B", "3D", "3F", "42", "55", "P0"})

_ARGUMENT: Final = re.compile(r"argument \$(\d+)")


def is_driver_error(error: BaseException) -> bool:
    """Whether asyncpg itself raised it."""
    return isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError | asyncpg.InternalClientError)


def is_driver_lost(error: BaseException) -> bool:
    """Whether asyncpg no longer knows where its connection stands, as when the server dies between two messages.

    Such a connection must be cut: the driver may take it for an open one.
    """
    return isinstance(driver_error(error), asyncpg.InternalClientError)


def driver_error(error: BaseException) -> BaseException:
    """Unwraps SQLAlchemy's wrapping down to the driver's own exception."""
    for _ in range(8):  # deeper nestings are not the driver's
        if is_driver_error(error):
            break
        inner: BaseException | None = getattr(error, "orig", None) or error.__cause__
        if inner is None:
            break
        error = inner
    return error


def translate(error: BaseException, database: str, *, closed: bool = False, commit: bool = False) -> StoreError | None:
    """Return the safe exception for an error of the driver or of SQLAlchemy, or None for any other.

    `closed` tells that the connection is gone, `commit` that the server was committing.
    """
    if isinstance(error, StoreError):
        return None
    where = f"database {database}"
    if isinstance(error, sqlalchemy_errors.TimeoutError):
        return StoreUnavailable(
            f"{where}: no connection of the pool came free in time; raise the pool's size or shed load",
            reason="pool",
            database=database,
        )
    inner = driver_error(error)
    if isinstance(inner, asyncpg.PostgresError):
        return _server_error(inner, where, database, commit=commit)
    lost = isinstance(inner, ConnectionError | asyncpg.InternalClientError)
    if lost or (isinstance(inner, asyncpg.InterfaceError) and closed):
        return StoreUnavailable(
            f"{where}: the connection to the server was lost",
            reason="connection",
            database=database,
            commit_unknown=commit,
        )
    if isinstance(inner, asyncpg.InterfaceError):
        found = _ARGUMENT.search(str(inner))
        part = f" (argument ${found.group(1)})" if found else ""
        return StoreMisuse(f"{where}: the driver refused the call: {type(inner).__name__}{part}", database=database)
    if isinstance(error, sqlalchemy_errors.SQLAlchemyError):
        return StoreMisuse(f"{where}: the statement could not be built: {type(error).__name__}", database=database)
    return None


def connect_error(error: BaseException, database: str) -> StoreError | None:
    """As `translate`, for failures to connect, where every error of the operating system means "not there now"."""
    # A connection that times out is a TimeoutError of its interruption, whose text says nothing.
    inner = error if isinstance(error, OSError | TimeoutError) else driver_error(error)
    if isinstance(inner, OSError | TimeoutError):
        return StoreUnavailable(
            f"database {database}: no server answers ({type(inner).__name__}); is it started, and is the URL right?",
            reason="connection",
            database=database,
        )
    return translate(error, database, closed=True)


def _server_error(error: asyncpg.PostgresError, where: str, database: str, *, commit: bool) -> StoreError:
    sqlstate = str(getattr(error, "sqlstate", None) or "")
    names = {
        "constraint": getattr(error, "constraint_name", None) or "",
        "table": getattr(error, "table_name", None) or "",
        "column": getattr(error, "column_name", None) or "",
    }
    if isinstance(error, asyncpg.FeatureNotSupportedError) and not isinstance(
        error, asyncpg.InvalidCachedStatementError
    ):
        transient = None
    else:
        transient = _TRANSIENT.get(sqlstate)
    if transient is None and sqlstate.startswith("08"):
        transient = ("connection", "the connection to the server was lost")
    if transient is not None:
        reason, sentence = transient
        return StoreUnavailable(
            f"{where}: {sentence}",
            reason=reason,
            database=database,
            sqlstate=sqlstate,
            commit_unknown=commit and reason == "connection",
        )
    told = " ".join(f"{kind} {name}" for kind, name in names.items() if name)
    if sqlstate.startswith("23"):
        return StoreConflict(
            f"{where}: refused by {told or 'a constraint'} (SQLSTATE {sqlstate})",
            database=database,
            sqlstate=sqlstate,
            **names,
        )
    detail = f": {error.args[0]}" if sqlstate[:2] in _SPEAKABLE_CLASSES and error.args else ""
    return StoreMisuse(
        f"{where}: {type(error).__name__} (SQLSTATE {sqlstate}){' at ' + told if told else ''}{detail}",
        database=database,
        sqlstate=sqlstate,
        **names,
    )
