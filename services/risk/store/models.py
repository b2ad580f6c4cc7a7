"""Models in the store: the files, where each stands, and who brought it there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from libs.store.database import Database, Transaction
from services.risk.store.identities import person_of

MODELS_MAX: Final = 1_000
"""Models that are kept; more are refused until old ones are gone."""
CONTENT_BYTES_MAX: Final = 6_000_000
"""Of a model's file, whether it was handed in or trained here: what fits into a message."""
CODES: Final = "code_model"
"""The table of the models of commodity codes. The release before takes the champion of the table `model`, whatever kind it is of."""
UNUSED_DAYS: Final = 90
"""Days after which a candidate that nobody ever made the challenger, or activated, is forgotten."""
WITHDRAWN_DAYS: Final = 7
"""The same for one that was retired without ever having scored."""
FILE_DAYS: Final = 1
"""Days after which a file goes whose model was not kept in the end."""

_COLUMNS: Final = ", ".join(
    [
        "version, state, summary, note, proposed_by, coalesce(challenged_by, '') as challenged_by",
        "coalesce(activated_by, '') as activated_by, coalesce(retired_by, '') as retired_by",
        *(
            f"coalesce((extract(epoch from {name}) * 1000000)::bigint, 0) as {name}"
            for name in ("proposed_at", "challenged_at", "activated_at", "retired_at")
        ),
    ]
)

# A challenger that another replaced is a candidate again, and its retired_at is when.
_PURGE: Final = """
delete from {table} where state in (1, 4) and case
    when challenged_at is not null or activated_at is not null
        then greatest(challenged_at, activated_at, retired_at) < clock_timestamp() - make_interval(days => $3)
    when state = 4 then retired_at < clock_timestamp() - make_interval(days => $2)
    else proposed_at < clock_timestamp() - make_interval(days => $1)
end
"""


class ModelState(IntEnum):
    """Where a model stands. The numbers are stored, and those of luxor.risk.v1.ModelState."""

    CANDIDATE = 1
    CHALLENGER = 2
    CHAMPION = 3
    RETIRED = 4


class ModelUnknown(Exception):  # an answer, as the names of the store's other refusals
    """There is no model of that version."""


class SecondPersonNeeded(Exception):  # an answer
    """Who proposed a model would put it in force; `who` names the one."""

    def __init__(self, identity: str) -> None:
        super().__init__(identity)
        self.identity = identity


class InvalidModelState(Exception):  # an answer
    """What is asked for cannot be done with a model in its state."""

    def __init__(self, state: ModelState) -> None:
        super().__init__(state.name)
        self.state = state


class TooManyModels(Exception):  # an answer
    """MODELS_MAX models are kept."""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model as it is kept, without its file. Times are microseconds since 1970-01-01 UTC, 0 where it never was."""

    version: str
    state: ModelState
    summary: bytes
    """Its facts without the trees (services.risk.learning.model.summary)."""
    note: str
    proposed_by: str
    proposed_at: int
    challenged_by: str
    challenged_at: int
    activated_by: str
    activated_at: int
    retired_by: str
    retired_at: int


class ModelStore:
    """The models of one kind: those that score by risk, or those of commodity codes."""

    def __init__(self, database: Database, table: str = "model", *, challenged: bool = True) -> None:
        """Use risk's own database; `challenged`: only a challenger, or a former champion, is activated."""
        self.database = database
        self._table = table
        self._challenged = challenged

    async def check_room(self, reader: Transaction, pending: int = 0) -> None:
        """Raise TooManyModels where there is no room for one more beside those that are `pending`."""
        if await reader.raw.fetchval(self._sql("select count(*) from {table}")) + pending >= MODELS_MAX:
            raise TooManyModels

    async def write(self, tx: Transaction, version: str, content: bytes) -> None:
        """Store a model's file; nobody sees it before the model is added."""
        await tx.raw.execute(
            self._sql(
                "insert into {table}_file (version, content) values ($1, $2) "
                "on conflict (version) do update set written_at = clock_timestamp()"
            ),
            version,
            content,
        )

    async def add(self, tx: Transaction, version: str, summary: bytes, note: str, by: str) -> StoredModel:
        """Keep a model, whose file is written, as a candidate; one that is kept stays as it is. Raises TooManyModels."""
        await self._lock(tx)
        found = await self._find(tx, version)
        if found is not None:
            return found
        await self.check_room(tx)
        await tx.raw.execute(
            self._sql("insert into {table} (version, state, summary, note, proposed_by) values ($1, $2, $3, $4, $5)"),
            version,
            int(ModelState.CANDIDATE),
            summary,
            note,
            by,
        )
        return await self._get(tx, version)

    async def challenge(self, tx: Transaction, version: str, by: str) -> StoredModel:
        """Make a candidate, or a retired model, the challenger. Raises ModelUnknown, InvalidModelState."""
        await self._lock(tx)
        state = (await self._get(tx, version)).state
        if not self._challenged or state not in (ModelState.CANDIDATE, ModelState.RETIRED):
            raise InvalidModelState(state)
        await tx.raw.execute(
            self._sql("update {table} set state = 1, retired_by = $1, retired_at = clock_timestamp() where state = 2"),
            by,
        )
        return await self._move(tx, version, ModelState.CHALLENGER, "challenged", by)

    async def activate(self, tx: Transaction, version: str, by: str) -> StoredModel:
        """Make the challenger, or a former champion, the champion and retire the former one; where no model is challenged a candidate.

        Raises ModelUnknown, InvalidModelState, SecondPersonNeeded.
        """
        await self._lock(tx)
        model = await self._get(tx, version)
        former = model.state is ModelState.RETIRED and model.activated_at > 0
        next_state = ModelState.CHALLENGER if self._challenged else ModelState.CANDIDATE
        if model.state is not next_state and not former:
            raise InvalidModelState(model.state)
        if person_of(model.proposed_by) == person_of(by):
            raise SecondPersonNeeded(model.proposed_by)
        await tx.raw.execute(
            self._sql("update {table} set state = 4, retired_by = $1, retired_at = clock_timestamp() where state = 3"),
            by,
        )
        return await self._move(tx, version, ModelState.CHAMPION, "activated", by)

    async def retire(self, tx: Transaction, version: str, by: str) -> StoredModel:
        """Take a model out. Raises ModelUnknown, InvalidModelState."""
        await self._lock(tx)
        state = (await self._get(tx, version)).state
        if state is ModelState.RETIRED:
            raise InvalidModelState(state)
        return await self._move(tx, version, ModelState.RETIRED, "retired", by)

    async def page(
        self, limit: int, before: tuple[int, str] | None = None, state: ModelState | None = None
    ) -> list[StoredModel]:
        """Models, the newest proposal first, behind a place (microseconds, version); of one state where it is given."""
        at, version = before or (None, "")
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(
                f"select {_COLUMNS} from {self._table} where ($1::smallint is null or state = $1) "  # noqa: S608  # names of our own
                "and ($2::bigint is null or ((extract(epoch from proposed_at) * 1000000)::bigint, version) < ($2, $3)) "
                f"order by {self._table}.proposed_at desc, version desc limit $4",
                None if state is None else int(state),
                at,
                version,
                limit,
            )
        return [_model(row) for row in rows]

    async def scoring(self) -> dict[ModelState, StoredModel]:
        """Champion and challenger, where there are any."""
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(f"select {_COLUMNS} from {self._table} where state in (2, 3)")  # noqa: S608  # names of our own
        return {model.state: model for model in map(_model, rows)}

    async def get(self, version: str) -> StoredModel:
        """A model, the champion for "". Raises ModelUnknown."""
        async with self.database.connection() as reader:
            if not version:
                version = await reader.raw.fetchval(self._sql("select version from {table} where state = 3")) or ""
            return await self._get(reader, version)

    async def active_versions(self) -> dict[int, str]:
        """The versions of champion and challenger."""
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(self._sql("select version, state from {table} where state in (2, 3)"))
        return {ModelState(row["state"]): row["version"] for row in rows}

    async def content(self, version: str) -> bytes:
        """A model's file. Raises ModelUnknown."""
        async with self.database.connection() as reader:
            found: bytes | None = await reader.raw.fetchval(
                self._sql("select content from {table}_file where version = $1"), version
            )
        if found is None:
            raise ModelUnknown(version)
        return found

    async def _move(self, tx: Transaction, version: str, state: ModelState, change: str, by: str) -> StoredModel:
        await tx.raw.execute(
            f"update {self._table} set state = $2, {change}_by = $3, {change}_at = clock_timestamp() where version = $1",  # noqa: S608  # a name of our own
            version,
            int(state),
            by,
        )
        return await self._get(tx, version)

    async def _get(self, tx: Transaction, version: str) -> StoredModel:
        found = await self._find(tx, version)
        if found is None:
            raise ModelUnknown(version)
        return found

    async def _find(self, tx: Transaction, version: str) -> StoredModel | None:
        row = await tx.raw.fetchrow(
            f"select {_COLUMNS} from {self._table} where version = $1",  # noqa: S608  # names of our own
            version,
        )
        return None if row is None else _model(row)

    def _sql(self, statement: str) -> str:
        return statement.format(table=self._table)

    async def _lock(self, tx: Transaction) -> None:
        """One changes models at a time; who reads waits for nobody."""
        await tx.raw.execute(self._sql("lock table {table} in share row exclusive mode"))


async def purge(tx: Transaction, days: int, table: str = "model") -> None:
    """Forget models that score no more since `days`, and those that never did."""
    await tx.raw.execute(_PURGE.format(table=table), UNUSED_DAYS, WITHDRAWN_DAYS, days)


async def purge_files(tx: Transaction, table: str = "model") -> None:
    """Forget files whose model was not added, or was forgotten."""
    await tx.raw.execute(
        f"delete from {table}_file stored where written_at < clock_timestamp() - make_interval(days => $1) "  # noqa: S608  # names of our own
        f"and not exists (select from {table} where {table}.version = stored.version)",
        FILE_DAYS,
    )


def _model(row: Any) -> StoredModel:
    values = dict(row)
    return StoredModel(**{**values, "state": ModelState(values["state"])})
