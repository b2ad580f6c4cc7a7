"""Aggregates over several consignments: which consignments are counted together, and what others count for each.

A limit whose test is in `rulebook.AGGREGATE_TESTS` counts several consignments together: the parcels of one order, of one person in a year
or on a day, of one recipient from one carrier on a day, of one importer on one craft. A limit of the consignment counts the shares of one
that was split, which have one house document and one recipient. Each consignment has a share of each such
aggregate. The persons are stored only as a keyed hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import numpy as np

from libs.columns import Strings, Table
from libs.columns.party_keys import Parts, consignees
from libs.customs.time import MICROS_PER_DAY, date_of_day
from luxor.consignment.v1 import consignment_pb2 as filing
from services.revenue.law.assess.eligibility.limits import LARGEST_SUM, LimitAggregates, Measures
from services.revenue.law.batch.arithmetic import Flags, Int64
from services.revenue.law.program.program import Program
from services.revenue.law.source.rulebook import AGGREGATE_TESTS, GROUP_TESTS, Test

BUNDLED: Final[frozenset[Test]] = frozenset({"order", "person_day", "recipient_day", "importer_craft", "consignment"})
"""Tests for which the whole aggregate counts for each of its consignments, so that a later one changes what an earlier one owes.
By the other test, `person_year`, earlier consignments are served first, and a later one does not change them."""
KEY_BYTES: Final = 16
_BETWEEN: Final = "\x1f"
_PERSONAL: Final = (filing.IDENTIFIER_TYPE_NATIONAL_PERSON, filing.IDENTIFIER_TYPE_PERSONAL_CUSTOMS_CODE)


@dataclass(frozen=True, slots=True)
class Aggregates:
    """The aggregates of other consignments for a batch: one element for each row and limit that is tested on one."""

    row: Int64
    limit: Strings
    """Jurisdiction and name of the limit, which stay when a rulebook gets more limits. Example: "KR:small"."""
    amount: Int64
    """The amount of other consignments, minor units of the jurisdiction's currency; at most LARGEST_SUM, which is over any limit."""
    named: Flags
    """Whether the filing names the key of the aggregate; otherwise the consignment counts alone."""

    @classmethod
    def none(cls) -> Aggregates:
        """Return an empty table."""
        nothing = np.zeros(0, dtype=np.int64)
        return cls(nothing, Strings.absent(0), nothing, nothing.astype(np.bool_))

    def by_limit(self, program: Program, rows: int) -> LimitAggregates | None:
        """Return them by row and limit of a program, or None where there are none. Limits that the program does not have are ignored."""
        if not len(self.row):
            return None
        places = {
            limit_id(read.rulebook.jurisdiction, name): place
            for read in program.books
            for place, name in enumerate(read.rulebook.limits)
        }
        limits = len(program.limit_entries)
        others = np.zeros((rows, limits), dtype=np.int64)
        unnamed = np.zeros((rows, limits), dtype=np.bool_)
        column = self.limit.map(lambda name: places.get(name, -1), np.int64)
        there = column >= 0
        others[self.row[there], column[there]] = self.amount[there]
        unnamed[self.row[there], column[there]] = ~self.named[there]
        return LimitAggregates(others, unnamed)

    def take(self, rows: Int64) -> Aggregates:
        """Return those of some rows, numbered by their places in `rows`."""
        if not len(self.row):
            return self
        parts = [np.flatnonzero(self.row == row) for row in rows.tolist()]
        at = np.concatenate([*parts, np.zeros(0, dtype=np.int64)])
        row = np.repeat(np.arange(len(parts), dtype=np.int64), [len(part) for part in parts])
        return Aggregates(row, self.limit.take(at), self.amount[at], self.named[at])

    def with_rows(self, newer: Mapping[int, Aggregates]) -> Aggregates:
        """Return a copy in which some rows have newer amounts; each value has one row."""
        if not newer:
            return self
        kept = np.flatnonzero(~np.isin(self.row, list(newer)))
        rest = Aggregates(self.row[kept], self.limit.take(kept), self.amount[kept], self.named[kept])
        both = Aggregates.join([rest, *newer.values()], [0, *newer])
        order = np.argsort(both.row, kind="stable")
        return Aggregates(both.row[order], both.limit.take(order), both.amount[order], both.named[order])

    def with_amount(self, limit: str, amount: int) -> Aggregates:
        """Return a copy, of one row, with another amount for one limit."""
        here = np.array([each == limit for each in self.limit.tolist()], dtype=np.bool_)
        return Aggregates(self.row, self.limit, np.where(here, min(amount, LARGEST_SUM), self.amount), self.named)

    @staticmethod
    def join(parts: Sequence[Aggregates], starts: Sequence[int]) -> Aggregates:
        """Return those of several batches in one table; batch i begins with row starts[i]."""
        if not any(len(part.row) for part in parts):
            return Aggregates.none()
        return Aggregates(
            np.concatenate([part.row + start for part, start in zip(parts, starts, strict=True)]),
            Strings.concat([part.limit for part in parts]),
            np.concatenate([part.amount for part in parts]),
            np.concatenate([part.named for part in parts]),
        )

    def arrays(self) -> dict[str, Int64]:
        """Return them as arrays for the store; `names` is stored with them."""
        if not len(self.row):
            return {}
        return {
            "sum_row": self.row,
            "sum_limit": self.limit.indices.astype(np.int64),
            "sum_others": self.amount,
            "sum_named": self.named.astype(np.int64),
        }

    @property
    def names(self) -> list[str]:
        """Return the dictionary of the codes in `sum_limit`."""
        return list(self.limit.dictionary) if len(self.row) else []

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Int64], names: Sequence[str]) -> Aggregates:
        """Return the table of `arrays` and `names`."""
        if not arrays:
            return cls.none()
        limit = Strings(names, arrays["sum_limit"].astype(np.int32))
        return cls(arrays["sum_row"], limit, arrays["sum_others"], arrays["sum_named"].astype(np.bool_))


def aggregate_areas(program: Program) -> frozenset[str]:
    """Return the countries of destination whose law has a limit that is tested on an aggregate."""
    return frozenset(
        area
        for read in program.books
        if any(limit.test in AGGREGATE_TESTS for limits in read.rulebook.limits.values() for limit in limits)
        for area in read.rulebook.areas
    )


def limit_id(jurisdiction: str, name: str) -> str:
    """Return the id of a limit among all rulebooks."""
    return f"{jurisdiction}:{name}"


@dataclass(frozen=True, slots=True)
class RequestedShares:
    """The shares of aggregates that a batch requests: one element for each row and limit, by row, then by limit."""

    row: Int64
    limit: Strings
    amount: Int64
    """The amount of the consignment, minor units."""
    most: Int64
    """The largest aggregate within the limit."""
    bundled: Flags
    """Whether a later consignment changes what this one owes."""
    key: list[bytes]
    """The key of the aggregate, hashed; empty if the filing does not name it."""

    @property
    def keys(self) -> list[bytes]:
        """Return the keys of the aggregates, each once, in the order in which they are locked."""
        return sorted({key for key in self.key if key})

    def unshared(self) -> Aggregates:
        """Return the aggregates of consignments to which no other one counts."""
        named = np.array([bool(key) for key in self.key], dtype=np.bool_)
        return Aggregates(self.row, self.limit, np.zeros_like(self.amount), named)


def no_shares() -> RequestedShares:
    """Return the shares of a batch without aggregates."""
    nothing = np.zeros(0, dtype=np.int64)
    return RequestedShares(nothing, Strings.absent(0), nothing, nothing, nothing.astype(np.bool_), [])


def batch_aggregates(shares: RequestedShares, rows: int) -> Aggregates:
    """Return the aggregates within a batch alone: bundled consignments count all others of the batch, those of a person's year
    only the earlier ones.
    """
    counting = AggregateCounter({}, {})
    others = counting.count([str(row) for row in range(rows)], [1] * rows, shares)
    whole = [counting.aggregates[key].total if key else 0 for key in shares.key]
    seen = np.array([min(total, LARGEST_SUM) for total in whole], dtype=np.int64) - shares.amount
    bundled = shares.bundled & others.named
    return Aggregates(others.row, others.limit, np.where(bundled, np.maximum(seen, 0), others.amount), others.named)


def requested_shares(program: Program, table: Table, measures: Measures, secret: bytes) -> RequestedShares:
    """Return the shares of aggregates that a batch requests; `secret` is the deployment's, 16 to 64 bytes."""
    order = np.lexsort((measures.limit, measures.row))
    row, tests = measures.row[order], [GROUP_TESTS[test] for test in measures.test[order].tolist()]
    names = [measures.limit_name(program, at) for at in order.tolist()]
    books = [program.books[place].rulebook.jurisdiction for place in measures.jurisdiction[order].tolist()]
    limits = [limit_id(book, name) for book, name in zip(books, names, strict=True)]
    rows, local = np.unique(row, return_inverse=True)
    day = np.zeros(len(rows), dtype=np.int64)
    day[local] = measures.day[order]
    named = _Names(table.take(rows), day)
    start = blake2b(key=secret, digest_size=KEY_BYTES)
    keys = []
    for at, limit, test in zip(local.tolist(), limits, tests, strict=True):
        who = named.group_key(test, at)
        if not who:
            keys.append(b"")
            continue
        hasher = start.copy()
        hasher.update(_BETWEEN.join((limit, test, who)).encode())
        keys.append(hasher.digest())
    bundled = np.array([test in BUNDLED for test in tests], dtype=np.bool_)
    return RequestedShares(row, Strings.of(limits), measures.amount[order], measures.most[order], bundled, keys)


class _Names:
    """The keys of aggregates of a batch, as texts; "" if the filing does not declare them."""

    def __init__(self, table: Table, law_day: Int64) -> None:
        parts = Parts(table)
        accepted, arrival = table.ints("accepted_at"), table.ints("transport_arrival_time")
        when = np.where(arrival.valid, arrival.values, accepted.values)
        #: The declared day of arrival, else the day of acceptance.
        self._day = [date_of_day(day).isoformat() for day in (when // MICROS_PER_DAY).tolist()]
        self._year = [str(date_of_day(day).year) for day in law_day.tolist()]
        self._person = self._persons(table, parts)
        carrier, filer = table.strings("carrier_identifier").tolist(), table.strings("filer").tolist()
        self._carrier = [given or filed for given, filed in zip(carrier, filer, strict=True)]
        self._platform, self._order = parts.compact("order_platform"), parts.compact("order_number")
        importer = parts.compact("importer_identifier")
        self._importer = [
            f"#{given}" if given else person for given, person in zip(importer, self._person, strict=True)
        ]
        craft, master = parts.compact("transport_conveyance_reference"), parts.compact("master_document_number")
        self._house = parts.compact("house_document_number")
        self._craft = [given or f"master {document}" if given or document else ""
                       for given, document in zip(craft, master, strict=True)]  # fmt: skip

    @staticmethod
    def _persons(table: Table, parts: Parts) -> list[str]:
        """Return the buyer of each row: the buyer's personal number, else the consignee's number, else name and place."""
        numbers = parts.compact("buyer_identifier")
        personal = np.isin(table.ints("buyer_identifier_type").values, _PERSONAL).tolist()
        postcodes, cities = parts.compact("consignee_address_postcode"), parts.plain("consignee_address_city")
        others = consignees(parts, postcodes, cities)
        return [
            f"#{number}" if number and known else other
            for number, known, other in zip(numbers, personal, others, strict=True)
        ]

    def group_key(self, test: Test, at: int) -> str:
        """Return the key, as a text, of the aggregate of a row for a test; "" if the filing does not declare a part of it."""
        parts: tuple[str, ...]
        if test == "order":
            parts = (self._order[at], self._platform[at] or "no platform given")
        elif test == "person_year":
            parts = (self._person[at], self._year[at])
        elif test == "person_day":
            parts = (self._person[at], self._day[at])
        elif test == "recipient_day":
            parts = (self._person[at], self._carrier[at], self._day[at])
        elif test == "consignment":
            parts = (self._house[at], self._person[at])
        else:
            parts = (self._importer[at], self._craft[at], self._day[at])
        return _BETWEEN.join(parts) if all(parts) else ""


@dataclass(slots=True)
class AggregateShare:
    """The share of a consignment in an aggregate."""

    amount: int
    position: int
    """Rises in the order in which consignments first came; those of the present batch come after all stored ones."""


@dataclass(slots=True)
class Aggregate:
    """A stored aggregate while a batch is counted."""

    total: int = 0
    count: int = 0
    least: int = LARGEST_SUM
    """The smallest of the limits of all consignments that ever had a share."""
    limit: str = ""
    bundled: bool = False
    shares: dict[str, AggregateShare] = field(default_factory=dict)
    """By MRN. Bundled aggregates need only those of the consignments of the batch."""


@dataclass(slots=True)
class ShareHolder:
    """The version of a consignment that has shares, and the keys of their aggregates."""

    version: int = 0
    keys: tuple[bytes, ...] = ()


@dataclass(slots=True)
class AggregateChanges:
    """The changes of a batch in the store."""

    put: dict[tuple[bytes, str], int] = field(default_factory=dict)
    """Shares to be written, by aggregate and MRN, in the order of their positions."""
    deleted: set[tuple[bytes, str]] = field(default_factory=set)
    holders: dict[str, ShareHolder] = field(default_factory=dict)
    aggregates: set[bytes] = field(default_factory=set)
    due: set[bytes] = field(default_factory=set)
    """Aggregates whose other consignments may owe something else now."""


class AggregateCounter:
    """Counts consignments into aggregates, one after another, with the same result as a single queue of all consignments."""

    def __init__(self, aggregates: Mapping[bytes, Aggregate], holders: Mapping[str, ShareHolder]) -> None:
        """Begin with the stored state of all aggregates and consignments that the batch touches."""
        self.aggregates = dict(aggregates)
        self.holders = dict(holders)
        self.changed = AggregateChanges()
        known = (share.position for each in self.aggregates.values() for share in each.shares.values())
        self._next = max(known, default=0)

    def count(self, mrns: Sequence[str], versions: Sequence[int], shares: RequestedShares) -> Aggregates:
        """Add a batch, row by row; return the amounts of the others when each row was added."""
        spans = np.searchsorted(shares.row, np.arange(len(mrns) + 1)).tolist()
        others = np.zeros(len(shares.row), dtype=np.int64)
        for row, (mrn, version) in enumerate(zip(mrns, versions, strict=True)):
            places = range(spans[row], spans[row + 1])
            if not places and mrn not in self.holders:
                continue
            holder = self.holders.get(mrn, ShareHolder())
            keys = tuple(shares.key[at] for at in places if shares.key[at])
            if version > holder.version:
                self._give_back(mrn, set(holder.keys) - set(keys))
                self.holders[mrn] = self.changed.holders[mrn] = ShareHolder(version, keys)
            for at in places:
                if shares.key[at]:
                    others[at] = self._share(mrn, at, shares, takes=version > holder.version)
        named = np.array([bool(key) for key in shares.key], dtype=np.bool_)
        return Aggregates(shares.row, shares.limit, others, named)

    def give_back(self, mrn: str) -> None:
        """Remove a consignment from all aggregates because it will not be imported. Its version is stored, so it is not added again."""
        holder = self.holders.get(mrn)
        if holder is not None and holder.keys:
            self._give_back(mrn, set(holder.keys))
            self.holders[mrn] = self.changed.holders[mrn] = ShareHolder(holder.version)

    def _share(self, mrn: str, at: int, shares: RequestedShares, *, takes: bool) -> int:
        key, amount = shares.key[at], int(shares.amount[at])
        entry = self.aggregates.setdefault(key, Aggregate())
        own = entry.shares.get(mrn)
        if shares.bundled[at]:
            others = entry.total - (own.amount if own else 0)
        elif own is None:
            others = entry.total
        else:
            others = sum(share.amount for share in entry.shares.values() if share.position < own.position)
        if takes:
            entry.limit, entry.bundled = shares.limit[at], bool(shares.bundled[at])
            entry.least = min(entry.least, int(shares.most[at]))
            self._move(key, entry, amount - (own.amount if own else 0), 0 if own else 1)
            if own is None:
                self._next += 1
            entry.shares[mrn] = AggregateShare(amount, own.position if own else self._next)
            self.changed.put[key, mrn] = amount
            self.changed.deleted.discard((key, mrn))
        return min(others, LARGEST_SUM)

    def _give_back(self, mrn: str, keys: Iterable[bytes]) -> None:
        for key in keys:
            entry = self.aggregates[key]
            own = entry.shares.pop(mrn, None)
            if own is not None:
                self._move(key, entry, -own.amount, -1)
                self.changed.deleted.add((key, mrn))
                self.changed.put.pop((key, mrn), None)

    def _move(self, key: bytes, entry: Aggregate, amount: int, count: int) -> None:
        before = entry.total
        entry.total += amount
        entry.count += count
        self.changed.aggregates.add(key)
        others = entry.count - (count >= 0)
        # If the old and the new total are both within every limit, no consignment owes another amount.
        if entry.bundled and amount and others and max(before, entry.total) > entry.least:
            self.changed.due.add(key)
