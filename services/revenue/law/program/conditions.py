"""Conditions: what must be true of a consignment or an item, compiled once and tested over whole batches.

A program numbers its conditions; a limit, a charge, a rate or a relief holds the number, -1 for none. Each condition is
tested at most once a batch, prefixes of codes once for each distinct code.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import get_args

import numpy as np

from libs.columns import Strings, Table
from luxor.consignment.v1 import consignment_pb2 as pb
from services.revenue.law.batch.arithmetic import Flags, Int64, every, some
from services.revenue.law.batch.filings import Filings
from services.revenue.law.batch.units import Measure, Quantities
from services.revenue.law.program.returns import FirstMrns, Proof
from services.revenue.law.source.rulebook import Condition, Scheme, asks_of_items

NO_CONDITION = -1
_COUNTRY = re.compile("^[a-z]{2} ?- ?(?=[a-z0-9]{1,3}$)")
_KNOWN_MAX = 100_000
_PIECE = 1000
_SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
_MODES = {name.removeprefix("TRANSPORT_MODE_").lower(): number for name, number in pb.TransportMode.items()}
_SERVICES = {name.removeprefix("TRANSPORT_SERVICE_").lower(): number for name, number in pb.TransportService.items()}
_ROLES = {name.removeprefix("DECLARANT_ROLE_").lower(): number for name, number in pb.DeclarantRole.items()}
_NATURES = {name.removeprefix("NATURE_").lower(): number for name, number in pb.Nature.items()}
_PERSONS = {name.removeprefix("PERSON_TYPE_").lower(): number for name, number in pb.PersonType.items()}


class Prefixes:
    """A set of beginnings of codes; what was asked of a code is remembered."""

    __slots__ = ("_compared", "_heads", "_matching", "_widths")

    def __init__(self, heads: Iterable[str]) -> None:
        """Take the beginnings."""
        self._heads = frozenset(heads)
        self._widths = sorted({len(head) for head in self._heads})
        self._compared: set[str] = set()
        self._matching: set[str] = set()

    def match(self, code: str) -> bool:
        """Return whether the code begins with one of them; an absent code does not."""
        if code not in self._compared:
            self._learn((code,))
        return code in self._matching

    def _learn(self, codes: Collection[str]) -> None:
        """Remember of these codes which match."""
        if len(self._compared) + len(codes) > _KNOWN_MAX:
            self._compared.clear()
            self._matching.clear()
        self._compared.update(codes)
        self._matching.update(code for code in codes if any(code[:width] in self._heads for width in self._widths))

    def match_column(self, codes: Strings) -> Flags:
        """Return the same for a column, computed once for each distinct code."""
        # Most codes match none of them, and that is remembered: sets find that without a call for each code.
        if not self._compared.issuperset(codes.dictionary):
            self._learn(codes.dictionary)
        return codes.isin(self._matching)


@dataclass(frozen=True, slots=True)
class _Compiled:
    condition: Condition
    numbers: tuple[tuple[str, tuple[int, ...]], ...]
    """Columns of the consignment that must have one of some numbers."""
    on_rows: bool
    """Whether it asks anything of the consignment."""
    on_items: bool
    """Whether it asks anything of the items."""
    goods: Prefixes
    goods_except: Prefixes
    preference: Prefixes

    @property
    def of_rows_alone(self) -> bool:
        """Return whether it tests no property of items; whether they are gifts may be declared for an item too."""
        return not self.on_items and "gift" not in self.condition.nature

    @property
    def of_goods_alone(self) -> bool:
        """Return whether it tests only the commodity code."""
        asked = self.condition
        of_more = asked.origin or asked.origin_except or asked.preference or asked.additional_procedure
        return not (self.on_rows or of_more)

    def of_code(self, code: str) -> bool:
        """Return whether the commodity code matches."""
        asked = self.condition
        return (not asked.goods or self.goods.match(code)) and not (
            asked.goods_except and self.goods_except.match(code)
        )


@dataclass(slots=True)
class ConditionTable:
    """The conditions of a program, each once, by number."""

    compiled: list[_Compiled] = field(default_factory=list)
    countries: dict[str, int] = field(default_factory=dict)
    """The rulebook of each country of destination, by its place in the program."""
    _numbers: dict[Condition, int] = field(default_factory=dict)

    def number(self, condition: Condition | None) -> int:
        """Return the number of a condition, new where it was not met before; -1 for none."""
        if condition is None:
            return NO_CONDITION
        number = self._numbers.get(condition)
        if number is None:
            number = self._numbers[condition] = len(self.compiled)
            numbers = tuple(_numbers(condition))
            self.compiled.append(
                _Compiled(
                    condition,
                    numbers,
                    bool(
                        numbers
                        or condition.dispatch
                        or condition.region
                        or condition.scheme
                        or condition.articles
                        or condition.returned
                    ),
                    asks_of_items(condition),
                    Prefixes(condition.goods),
                    Prefixes(condition.goods_except),
                    Prefixes(condition.preference),
                )
            )
        return number


class Conditions:
    """The conditions of a program over one batch; each is tested when first needed, and once."""

    def __init__(self, table: ConditionTable, filings: Filings, usable: Flags) -> None:
        """Take the program's table, the batch and which schemes' numbers may be used: `usable` is [row, scheme]."""
        self._table, self._filings, self.usable = table, filings, usable
        self._rows: dict[int, Flags] = {}
        self._items: dict[int, Flags] = {}
        self._declared: dict[tuple[str, tuple[int, ...]], Flags | None] = {}
        self._bits: dict[str, int] = {}
        self._any_usable: Flags | None = None
        self._several_articles: Flags | None = None
        self._first_mrns: FirstMrns | None = None

    def proof(self, number: int) -> Int64:
        """Return for each row what its first MRN proves of the goods' return, a number of `Proof`, as a condition asks for it."""
        asked, returns = self._table.compiled[number].condition.returned, self._filings.returns
        assert asked is not None
        if returns is None:
            return np.full(self._filings.rows, int(Proof.NONE))
        if self._first_mrns is None:
            self._first_mrns = FirstMrns(self._filings, returns.nonzero()[0], self._table.countries)
        return self._first_mrns.proof(asked)

    @property
    def any_usable(self) -> Flags:
        """Return which rows have a number of any scheme that may be used."""
        if self._any_usable is None:
            self._any_usable = np.logical_or.reduce(self.usable, axis=1)
        return self._any_usable

    def fits_rows(self, numbers: Int64, rows: Int64 | slice = slice(None)) -> Flags:
        """Return for each selected row whether the consignment's part of its condition matches; -1 always does.

        `numbers` has one element a selected row. Parts that ask of items are passed over.
        """
        return self._fits(numbers, rows, self.of_rows)

    def fits_items(self, numbers: Int64, items: Int64 | slice = slice(None)) -> Flags:
        """Return for each selected item whether its whole condition matches; -1 always does.

        `numbers` has one element a selected item.
        """
        return self._fits(numbers, items, self.of_items)

    def _fits(self, numbers: Int64, select: Int64 | slice, test: Callable[[int], Flags]) -> Flags:
        result: Flags = np.ones(len(numbers), dtype=np.bool_)
        if not len(numbers):
            return result
        first = int(numbers[0])
        if every(numbers == first):
            return result if first < 0 else test(first)[select].copy()
        for number in np.flatnonzero(np.bincount(numbers + 1)).tolist():
            if number:
                result &= (numbers != number - 1) | test(number - 1)[select]
        return result

    def of_rows(self, number: int) -> Flags:
        """Return for each row whether the consignment's part of a condition matches."""
        known = self._rows.get(number)
        if known is None:
            parts = self._parts_of_rows(self._table.compiled[number])
            known = self._rows[number] = _all(parts, self._filings.rows)
        return known

    def of_items(self, number: int) -> Flags:
        """Return for each item whether the whole condition matches."""
        known = self._items.get(number)
        if known is None:
            compiled = self._table.compiled[number]
            known = self._items[number] = _all(self._parts_of_items(number, compiled), self._filings.items)
        return known

    def _rows_by_item(self, number: int, compiled: _Compiled) -> Flags | None:
        """Return the consignment's part of the condition, by item: an item that is marked as a gift is one in any consignment."""
        rows, row = self.of_rows(number), self._filings.item_row
        result: Flags | None = rows[row] if some(rows) else None
        if "gift" in compiled.condition.nature:
            gift = self._filings.goods.bools("gift").values
            if some(gift):
                marked = gift & _all(self._parts_of_rows(compiled, but_nature=True), self._filings.rows)[row]
                result = marked if result is None else result | marked
        return result

    def _rows_with(self, column: str, numbers: tuple[int, ...]) -> Flags | None:
        """Return which rows have one of the numbers in a column; cached, because several conditions test the same."""
        if (column, numbers) not in self._declared:
            # Nothing told is 0, which no word stands for. A number whose bits no row has is told by none: most rows tell the same.
            values = self._filings.table.ints(column).values
            bits = self._bits.get(column)
            if bits is None:
                bits = self._bits[column] = int(np.bitwise_or.reduce(values))
            equal = [values == number for number in numbers if bits & number == number]
            found = _either(equal) if equal else None
            self._declared[column, numbers] = found if found is not None and some(found) else None
        return self._declared[column, numbers]

    def _parts_of_rows(self, compiled: _Compiled, *, but_nature: bool = False) -> Iterator[Flags | None]:
        """Test what a condition asks of consignments, part by part; None for one that fits none."""
        asked = compiled.condition
        for column, numbers in compiled.numbers:
            if not (but_nature and column == "nature"):
                yield self._rows_with(column, numbers)
        if asked.dispatch:
            yield self._filings.dispatch.isin(asked.dispatch)
        if asked.returned:
            yield self.proof(self._table.number(asked)) == Proof.WITHIN
        if asked.articles:
            yield self._several if asked.articles == "several" else ~self._several
        if asked.region:
            yield self._in_region(frozenset(region_of(each) for each in asked.region))
        if asked.scheme:
            told = [_SCHEMES.index(scheme) for scheme in asked.scheme if scheme != "none"]
            usable = [self.usable[:, scheme] for scheme in told]
            yield _either([*usable, *([~self.any_usable] if "none" in asked.scheme else [])])

    @property
    def _several(self) -> Flags:
        """Return which rows have several articles: several lines of goods, or one of several pieces."""
        if self._several_articles is None:
            filings = self._filings
            pieces = Quantities(filings).measured(Measure.PIECES)
            several: Flags = (filings.offsets[1:] - filings.offsets[:-1]) > 1
            several[filings.item_row[pieces.declared & (pieces.parts > _PIECE)]] = True
            self._several_articles = several
        return self._several_articles

    def _in_region(self, regions: frozenset[str]) -> Flags:
        found: Flags = self._filings.table.strings("consignee_address_region").map(
            lambda told: region_of(told) in regions, np.bool_
        )
        return found

    def _parts_of_items(self, number: int, compiled: _Compiled) -> Iterator[Flags | None]:
        """Test what a condition asks of items and their consignments, part by part; None for one that fits none."""
        asked, filings = compiled.condition, self._filings
        if compiled.on_rows:
            yield self._rows_by_item(number, compiled)
        if asked.preference:
            yield compiled.preference.match_column(filings.preference)
        if asked.origin:
            yield filings.origin.isin(asked.origin)
        if asked.origin_except:
            yield ~filings.origin.isin(asked.origin_except)
        if asked.goods:
            yield compiled.goods.match_column(filings.code)
        if asked.goods_except:
            yield ~compiled.goods_except.match_column(filings.code)
        if asked.additional_procedure:
            codes = asked.additional_procedure
            yield _declares(filings.table, codes)[filings.item_row] | _declares(filings.goods, codes)


def _all(parts: Iterator[Flags | None], count: int) -> Flags:
    """Return for each of `count` elements whether all parts match; stops as soon as no element matches."""
    result: Flags | None = None
    for part in parts:
        result = part if result is None or part is None else result & part
        if result is None or not some(result):
            return np.zeros(count, dtype=np.bool_)
    return np.ones(count, dtype=np.bool_) if result is None else result


def _numbers(condition: Condition) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the numeric columns that a condition tests, with the numbers of its words."""
    for column, numbers, words in (
        ("transport_mode", _MODES, condition.mode),
        ("transport_service", _SERVICES, condition.service),
        ("nature", _NATURES, condition.nature),
        ("declarant_role", _ROLES, condition.declarant_role),
        ("consignor_person_type", _PERSONS, (condition.consignor,) if condition.consignor else ()),
        ("consignee_person_type", _PERSONS, (condition.consignee,) if condition.consignee else ()),
    ):
        if words:
            yield column, tuple(numbers[word] for word in words)


def region_of(declared: str) -> str:
    """Return a region in the form in which regions are compared: without the country, capitals and spaces. Example: "br-MG " gives "mg"."""
    plain = " ".join(declared.split()).casefold()
    return _COUNTRY.sub("", plain)


def _declares(table: Table, procedures: tuple[str, ...]) -> Flags:
    """Return for each row of a table whether it declares one of these additional procedures."""
    result: Flags = np.zeros(table.rows, dtype=np.bool_)
    told = table.ragged("additional_procedures")
    assert isinstance(told.values, Strings)
    if not set(procedures).isdisjoint(told.values.dictionary):
        result[told.owners()[told.values.isin(procedures)]] = True
    return result


def _either(columns: Iterable[Flags]) -> Flags:
    """Return for each element whether any of the columns is set; there is at least one column."""
    first, *others = columns
    for column in others:
        first = first | column
    return first


def excluded_of(sets: list[Prefixes], numbers: Int64, codes: Strings) -> Flags:
    """Return for each item whether its code is in the set with its number; False for -1."""
    result = np.zeros(len(numbers), dtype=np.bool_)
    if len(numbers) and some(numbers >= 0):
        for number in np.flatnonzero(np.bincount(numbers + 1)).tolist():
            if number:
                result |= (numbers == number - 1) & sets[number - 1].match_column(codes)
    return result
