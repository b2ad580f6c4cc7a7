"""The rule sets that are kept: drafts, the one in force, and those that were."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, Final

from libs.store.database import Database, Transaction
from luxor.risk.v1.rule_sets_pb2 import RuleSetFiles
from services.risk.rules.rule_set import RuleSetText
from services.risk.store.identities import person_of

DRAFTS_MAX: Final = 20
"""Drafts of one person that may wait to be activated; each may have some megabytes."""
UNUSED_DAYS: Final = 90
"""Days after which a draft that nobody activated is forgotten."""
WITHDRAWN_DAYS: Final = 7
"""The same for one that was withdrawn."""

_PURGE: Final = """
delete from rule_set where case
    when state = 2 then false
    when activated_at is not null then retired_at < clock_timestamp() - make_interval(days => $3)
    when state = 3 then retired_at < clock_timestamp() - make_interval(days => $2)
    else proposed_at < clock_timestamp() - make_interval(days => $1)
end
"""

_COLUMNS: Final = "version, state, note, proposed_by, proposed_at, activated_by, activated_at, retired_by, retired_at"
# Two that activate at once stand one behind the other.
_LOCK: Final = "select pg_advisory_xact_lock(hashtext('rule_set'))"


class RuleSetState(IntEnum):
    """Where a set stands in its life; the numbers are those of luxor.risk.v1.RuleSetState."""

    DRAFT = 1
    ACTIVE = 2
    RETIRED = 3


@dataclass(frozen=True, slots=True)
class StoredRuleSet:
    """A set that is kept, without its content."""

    version: str
    state: RuleSetState
    note: str
    proposed_by: str
    proposed_at: datetime
    activated_by: str | None
    activated_at: datetime | None
    retired_by: str | None
    retired_at: datetime | None


def text_of(message: RuleSetFiles) -> RuleSetText:
    """A set as written, from the message that it was sent as."""
    return RuleSetText(message.profile_path, {each.path: each.content for each in message.files})


class TooManyDrafts(Exception):  # an answer, as the names of the store's other refusals
    """DRAFTS_MAX drafts of the person wait."""


class RuleSetStore:
    """The table rule_set."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def active_version(self) -> str | None:
        """The version that was activated; None where none ever was."""
        async with self.database.connection() as reader:
            version: str | None = await reader.raw.fetchval(
                "select version from rule_set where state = $1", RuleSetState.ACTIVE
            )
        return version

    async def text(self, version: str) -> RuleSetText | None:
        """The files of a set; None where it is not kept."""
        async with self.database.connection() as reader:
            content: bytes | None = await reader.raw.fetchval(
                "select content from rule_set where version = $1", version
            )
        return None if content is None else text_of(RuleSetFiles.FromString(content))

    async def find(self, version: str) -> tuple[StoredRuleSet, bytes, bytes] | None:
        """A set with its content and report; None where it is not kept."""
        async with self.database.connection() as reader:
            row = await reader.raw.fetchrow(
                f"select {_COLUMNS}, content, report from rule_set where version = $1",  # noqa: S608  # names of our own
                version,
            )
        return None if row is None else (_stored_rule_set(row), row["content"], row["report"])

    async def page(self, limit: int, before: tuple[datetime, str] | None) -> list[StoredRuleSet]:
        """The sets in the order of their proposals, the newest first, behind a place."""
        at, version = before or (None, "")
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(
                f"select {_COLUMNS} from rule_set "  # noqa: S608  # names of our own
                "where $1::timestamptz is null or (proposed_at, version) < ($1, $2) "
                "order by proposed_at desc, version desc limit $3",
                at,
                version,
                limit,
            )
        return [_stored_rule_set(row) for row in rows]

    async def lock(self, tx: Transaction, version: str) -> StoredRuleSet | None:
        """Hold up all other changes of sets until the transaction ends; gives the set, None where it is not kept."""
        await tx.raw.execute(_LOCK)
        row = await tx.raw.fetchrow(
            f"select {_COLUMNS} from rule_set where version = $1",  # noqa: S608  # names of our own
            version,
        )
        return None if row is None else _stored_rule_set(row)

    async def add(
        self, tx: Transaction, version: str, content: bytes, report: bytes, note: str, identity: str
    ) -> StoredRuleSet:
        """Keep a draft; the version is not kept yet, and the others are held up (`lock`). Raises TooManyDrafts."""
        count = await tx.raw.fetchval(
            "select count(*) from rule_set where state = $1 and lower(split_part(proposed_by, '/', 2)) = $2",
            RuleSetState.DRAFT,
            person_of(identity),
        )
        if count >= DRAFTS_MAX:
            raise TooManyDrafts
        row = await tx.raw.fetchrow(
            "insert into rule_set (version, state, content, report, note, proposed_by) "  # noqa: S608  # names of our own
            f"values ($1, $2, $3, $4, $5, $6) returning {_COLUMNS}",
            version,
            RuleSetState.DRAFT,
            content,
            report,
            note,
            identity,
        )
        return _stored_rule_set(row)

    async def activate(self, tx: Transaction, version: str, identity: str) -> tuple[StoredRuleSet, str]:
        """Put a set into force and retire the one that is; gives the set and the version that it replaced, empty for none."""
        replaced = await tx.raw.fetchval(
            "update rule_set set state = $1, retired_by = $2, retired_at = clock_timestamp() where state = $3 "
            "returning version",
            RuleSetState.RETIRED,
            identity,
            RuleSetState.ACTIVE,
        )
        row = await tx.raw.fetchrow(
            "update rule_set set state = $1, activated_by = $2, activated_at = clock_timestamp(), "  # noqa: S608
            f"retired_by = null, retired_at = null where version = $3 returning {_COLUMNS}",
            RuleSetState.ACTIVE,
            identity,
            version,
        )
        return _stored_rule_set(row), replaced or ""

    async def retire(self, tx: Transaction, version: str, identity: str) -> StoredRuleSet:
        """Withdraw a draft."""
        row = await tx.raw.fetchrow(
            "update rule_set set state = $1, retired_by = $2, retired_at = clock_timestamp() "  # noqa: S608
            f"where version = $3 returning {_COLUMNS}",
            RuleSetState.RETIRED,
            identity,
            version,
        )
        return _stored_rule_set(row)


async def purge(tx: Transaction, days: int) -> None:
    """Forget sets that are in force no more since `days`, and those that never were."""
    await tx.raw.execute(_LOCK)
    await tx.raw.execute(_PURGE, UNUSED_DAYS, WITHDRAWN_DAYS, days)


def _stored_rule_set(row: Any) -> StoredRuleSet:
    fields = {name: row[name] for name in StoredRuleSet.__slots__}
    return StoredRuleSet(**{**fields, "state": RuleSetState(fields["state"])})
