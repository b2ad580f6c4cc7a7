"""The quality of stored versions, and the tables of scorecards. A card is the sum of its shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from libs.customs.identifiers import mrn
from libs.store.database import Database, Transaction
from services.ingestion.quality.scorecards import Card, Example, Key, Refusals, RefusedExample
from services.ingestion.quality.scores import QUALITY, Array, reasons_of
from services.ingestion.store.filings import BLOCK

SHARDS: Final = 8
"""Parts of a card: so many calls of one filer may commit at the same time."""
_EXAMPLES_MAX: Final = 100_000
"""Reasons of cards whose examples this process knows to be stored."""
_FIRST = f"""
    select w.place, substring(s.quality from w.at * {QUALITY.itemsize} + 1 for {QUALITY.itemsize}) as quality
    from unnest((select $2::integer[]), (select $3::integer[]), (select $4::bigint[]), (select $5::integer[])) as w(place, day, block, at)
    cross join lateral (select * from submission t where t.day = any($1::integer[]) and t.day = w.day and t.block = w.block offset 0) s
    where s.quality is not null
"""  # noqa: S608  # a number of our own
_LATER = """
    select w.place, a.quality
    from unnest((select $2::integer[]), (select $3::integer[]), (select $4::text[]), (select $5::integer[])) as w(place, day, mrn, version)
    cross join lateral (
        select * from amendment t where t.day = any($1::integer[]) and t.day = w.day and t.mrn = w.mrn and t.version = w.version offset 0
    ) a where a.quality is not null
"""
_SUM = "array(select a + b from unnest(s.{0}, excluded.{0}) with ordinality as u(a, b, place) order by place)"
_ADD = f"""
    insert into scorecard as s (day, filer, shard, refused, first, newest) values ($1, $2, $3, $4, $5, $6)
    on conflict (day, filer, shard) do update set refused = s.refused + excluded.refused,
        first = {_SUM.format("first")}, newest = {_SUM.format("newest")}
"""  # noqa: S608  # names of our own
_ADD_EXAMPLE = """
    insert into scorecard_example (day, filer, reason, mrns, paths, rejected) values ($1, $2, $3, $4, $5, $6) on conflict do nothing
"""
_ADD_REFUSALS = """
    insert into scorecard_refusal as s (day, filer, shard, reason, consignments, local_references, paths, rejected)
    values ($1, $2, $3, $4, $5, $6, $7, $8)
    on conflict (day, filer, reason, shard) do update set consignments = s.consignments + excluded.consignments
"""
_PAGE = """
    select day, filer, refused, first, newest from scorecard
    where day between greatest($1::integer, $3::integer) and $2 and (day, filer) > ($3, $4) and ($5::text = '' or filer = $5)
    order by day, filer, shard limit $6
"""
_EXAMPLES = """
    select e.day, e.filer, e.reason, e.mrns, e.paths, e.rejected from scorecard_example e
    where e.day = any($1::integer[]) and (e.day, e.filer) in (select * from unnest($2::integer[], $3::text[]))
"""
_REFUSALS = """
    select r.day, r.filer, r.reason, r.consignments, r.local_references, r.paths, r.rejected from scorecard_refusal r
    where r.day = any($1::integer[]) and (r.day, r.filer) in (select * from unnest($2::integer[], $3::text[]))
    order by r.day, r.filer, r.reason, r.shard
"""
TABLES: Final = ("scorecard", "scorecard_example", "scorecard_refusal")
"""The tables of cards, one part a day."""


class StoredCard(NamedTuple):
    """One card with its examples."""

    key: Key
    card: Card


class Scorecards:
    """Reads the quality of versions, and reads and adds to cards."""

    def __init__(self, database: Database) -> None:
        """Store them in a database."""
        self._database = database
        self._examples: set[tuple[int, str, str]] = set()

    async def qualities(self, versions: Sequence[tuple[str, int]]) -> list[Array | None]:
        """Return the quality of each version of an MRN of Luxor, shape (1,); None if it is an invalidation or was not scored."""
        found: list[Array | None] = [None] * len(versions)
        parsed = [mrn.parse(number) for number, _ in versions]
        first = [place for place, (_, version) in enumerate(versions) if version == 1]
        later = [place for place, (_, version) in enumerate(versions) if version > 1]
        rows = []
        async with self._database.connection() as reader:
            if first:
                days = [parsed[place].day for place in first]
                serials = [divmod(parsed[place].sequence, BLOCK) for place in first]
                rows += await reader.raw.fetch(
                    _FIRST, sorted(set(days)), first, days, *map(list, zip(*serials, strict=True))
                )
            if later:
                days = [parsed[place].day for place in later]
                names = zip(*(versions[place] for place in later), strict=True)
                rows += await reader.raw.fetch(_LATER, sorted(set(days)), later, days, *map(list, names))
        for place, content in rows:
            if len(content) == QUALITY.itemsize:
                found[place] = np.frombuffer(content, QUALITY)
        return found

    def without_example(self, key: Key, quality: Array) -> list[str]:
        """Return the reasons of qualities of which this process does not know that an example is stored."""
        bits = int(np.bitwise_or.reduce(quality["reasons"])) if len(quality) else 0
        return [reason for reason in reasons_of(bits) if (*key, reason) not in self._examples]

    async def add(self, tx: Transaction, cards: Mapping[Key, Card], shard: int) -> None:
        """Add to cards in the caller's transaction, in which nothing follows: whoever adds to the same shard waits for its end."""
        # One order everywhere, so that two calls wait for each other without a deadlock.
        for key in sorted(cards):
            card = cards[key]
            measures = card.first.tolist(), card.newest.tolist()
            await tx.raw.execute(_ADD, *key, shard % SHARDS, card.refused, *measures)
        for key in sorted(cards):
            by_reason: dict[str, list[Example]] = {}
            for example in cards[key].examples:
                by_reason.setdefault(example.reason, []).append(example)
            for reason, some in sorted(by_reason.items()):
                columns = [each.mrn for each in some], [each.path for each in some], [each.value for each in some]
                await tx.raw.execute(_ADD_EXAMPLE, *key, reason, *columns)
            for reason, refusals in sorted(cards[key].refusals.items()):
                examples = ((each.local_reference, each.path, each.value) for each in refusals.examples)
                shown = map(list, zip(*examples, strict=True))
                await tx.raw.execute(_ADD_REFUSALS, *key, shard % SHARDS, reason, refusals.consignments, *shown)
        tx.after_commit(lambda: self._note({(*key, each.reason) for key in cards for each in cards[key].examples}))

    def _note(self, examples: set[tuple[int, str, str]]) -> None:
        if len(self._examples) > _EXAMPLES_MAX:
            self._examples.clear()
        self._examples |= examples

    async def page(self, first: int, last: int, filer: str, after: Key, limit: int) -> list[StoredCard]:
        """Return the next cards of days after a key, by day and filer, of one filer or of all ("")."""
        cards: dict[Key, Card] = {}
        async with self._database.connection() as reader:
            rows = await reader.raw.fetch(_PAGE, first, last, *after, filer, (limit + 1) * SHARDS)
            for day, name, refused, first_numbers, newest in rows:
                card = Card(int(refused), {}, np.array(first_numbers, np.int64), np.array(newest, np.int64))
                cards.setdefault(Key(day, name), Card()).add(card)
            # The last one may have further shards than were read.
            chosen = {key: cards[key] for key in list(cards)[:limit]}
            days, names = [key.day for key in chosen], [key.filer for key in chosen]
            chosen_days = sorted(set(days)), days, names
            examples = await reader.raw.fetch(_EXAMPLES, *chosen_days) if chosen else []
            refusals = await reader.raw.fetch(_REFUSALS, *chosen_days) if chosen else []
        for day, name, reason, *columns in examples:
            chosen[Key(day, name)].examples += [Example(reason, *each) for each in zip(*columns, strict=True)]
        for day, name, reason, consignments, *columns in refusals:
            refused = [RefusedExample(*each) for each in zip(*columns, strict=True)]
            chosen[Key(day, name)].refusals.setdefault(reason, Refusals()).add(consignments, refused)
        return [StoredCard(key, card) for key, card in chosen.items()]
