"""The searches of the table sale_platform: for goods that were assessed before the first sale of their platform, or its first house document, was
stored, or that are too many to be bound at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from libs.store.database import NOW_MICROS, Transaction

REPEAT_SECONDS: Final = 120
"""A second search follows so much later: a call that was under way during the first one has ended by then, and what it assessed is stored."""

_DUE: Final = f"""
select platform, searches, since, documents from sale_platform
where searches = 0 or (searches = 1 and since + {REPEAT_SECONDS * 1_000_000} <= {NOW_MICROS}) order by platform
"""  # noqa: S608  # numbers and an expression of our own
_DONE: Final = """
update sale_platform p set searches = p.searches + 1
from unnest($1::text[], $2::smallint[], $3::bigint[]) as given(platform, searches, since)
where p.platform = given.platform and p.searches = given.searches and p.since = given.since
"""
_REQUEST: Final = f"update sale_platform set searches = 0, since = {NOW_MICROS} where platform = $1"  # noqa: S608  # an expression of our own
_FIRST_DOCUMENT: Final = f"""
update sale_platform set documents = true, searches = 0, since = {NOW_MICROS} where platform = $1 and not documents
"""  # noqa: S608  # an expression of our own


@dataclass(frozen=True, slots=True)
class DueSearch:
    """A platform for whose goods a search is due."""

    platform: str
    searches: int
    """How many there were since."""
    since: int
    """When the first one was requested, microseconds since 1970-01-01 UTC."""
    names_documents: bool
    """Whether a sale of the platform ever named a house document."""


async def due_searches(reader: Transaction) -> list[DueSearch]:
    """Return the searches that are due."""
    return [DueSearch(*row) for row in await reader.raw.fetch(_DUE)]


async def complete_searches(tx: Transaction, searches: Sequence[DueSearch]) -> None:
    """Note that searches are done; those that were requested again meanwhile stay due."""
    await tx.raw.execute(
        _DONE,
        [each.platform for each in searches],
        [each.searches for each in searches],
        [each.since for each in searches],
    )


async def request_search(tx: Transaction, platform: str) -> None:
    """Request a search for the goods of a platform."""
    await tx.raw.execute(_REQUEST, platform)


async def note_documents(tx: Transaction, platform: str) -> None:
    """Note that a sale of a platform names a house document; the first one requests a search for the goods of the platform."""
    await tx.raw.execute(_FIRST_DOCUMENT, platform)
