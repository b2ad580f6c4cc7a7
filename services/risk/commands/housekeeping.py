"""Steps of housekeeping: forget what no answer names any more, and add up the counts of days that have ended."""

from __future__ import annotations

from typing import Final

from libs.store.database import Database
from libs.store.tables.housekeeping import Step
from libs.store.tables.requests import PURGE_ROWS_MAX, purge_before
from libs.store.tables.schema import today
from services.risk.store import models, rule_sets, selection

_ROWS_MAX: Final = 20_000


def purge_models(days: int) -> Step:
    """Make a step that forgets models that score no more since `days`, and those that never did.

    `days` is how long answers are stored: a model that one may name stays.
    """

    async def step(database: Database) -> None:
        for table in ("model", models.CODES):
            async with database.transaction() as tx:
                await models.purge(tx, days + 1, table)
            async with database.transaction() as tx:
                await models.purge_files(tx, table)

    return step


def purge_rule_sets(days: int) -> Step:
    """Make a step that forgets rule sets that are in force no more since `days`, and those that never were.

    `days` is how long answers are stored: a set that one may name stays.
    """

    async def step(database: Database) -> None:
        async with database.transaction() as tx:
            await rule_sets.purge(tx, days + 1)

    return step


def sum_counts(days: int) -> Step:
    """Make a step that adds up the counts of days that have ended, and forgets those of more than `days` ago."""

    async def step(database: Database) -> None:
        added = _ROWS_MAX
        while added >= _ROWS_MAX:
            async with database.transaction() as tx:
                added = await selection.sum_counts(tx, _ROWS_MAX)
        async with database.transaction() as tx:
            await selection.forget_counts(tx, days)

    return step


def purge_draws(days: int) -> Step:
    """Make a step that forgets what was drawn more than `days` ago."""
    return _purge("drawn", days)


def purge_awaited_values(days: int) -> Step:
    """Make a step that forgets which consignments of more than `days` ago counted without a value."""
    return _purge("awaited_value", days)


def purge_screening_matches(days: int) -> Step:
    """Make a step that forgets screening matches older than `days`."""
    return _purge("screening_hit", days)


def purge_outcomes(days: int) -> Step:
    """Make a step that forgets inspections of more than `days` ago."""
    return _purge("outcome", days)


def _purge(table: str, days: int) -> Step:
    async def step(database: Database) -> None:
        async with database.connection() as reader:
            before = await today(reader) - days
        await purge_before(database, table, before, rows_max=PURGE_ROWS_MAX)

    return step
