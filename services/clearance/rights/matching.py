"""Which items of filings match applications of rights holders. Pure; whole batches.

A match is a word of an application in the brand or the description of an item. It states nothing about the goods; customs examines them.
Source: Regulation (EU) No 608/2013, articles 3 to 6 and 17 (applications, and action by customs following a decision on one).
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.columns import Column, Ints, Ragged, Strings, Table, schema_of
from libs.customs.time import MICROS_PER_DAY
from libs.filing_stages.direction import exports, of_rows
from luxor.clearance.v1.clearance_columns_pb2 import RightsMatchColumns
from services.clearance.consignment.columns import item_numbers
from services.clearance.consignment.state.creation import destinations

MATCHES_MAX: Final = 20
"""Matches of one consignment that its state names; the goods are examined by the first one."""
_WORD: Final = re.compile(r"\w+")
_SCHEMA: Final = schema_of(RightsMatchColumns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """A registered application; its fields are those of luxor.clearance.v1.RightsApplication, days since 1970-01-01."""

    number: str
    holder: str
    rights: str
    countries: tuple[str, ...]
    from_day: int
    to_day: int
    goods: tuple[str, ...]
    words: tuple[str, ...]
    revoked: bool = False
    version: int = 0
    changed_at: int = 0
    changed_by: str = ""

    def covers(self, country: str, code: str, day: int) -> bool:
        """Return whether it applies to goods of a code that are bound for a country, accepted on a day."""
        return country in self.countries and self.from_day <= day <= self.to_day and code.startswith(self.goods)


class Matcher:
    """The words of applications by their first one."""

    def __init__(self, applications: Iterable[Application] = ()) -> None:
        """Match the applications that are not revoked."""
        self._by_first: dict[str, list[tuple[tuple[str, ...], Application]]] = {}
        active = [each for each in applications if not each.revoked]
        for application in active:
            for word in application.words:
                tokens = tokens_of(word)
                if tokens:
                    self._by_first.setdefault(tokens[0], []).append((tokens, application))
        self.goods: tuple[str, ...] = tuple(sorted({each for application in active for each in application.goods}))
        """Beginnings of the codes of all applications."""

    def matches(self, filings: Table) -> dict[str, Column]:
        """Return the column `rights_matches` of the states of filings; none if nothing matches."""
        if not self.goods:
            return {}
        items, lines = filings.ragged("items"), filings.child("items")
        codes = lines.strings("commodity_code")
        chosen = np.array([code.startswith(self.goods) for code in codes.dictionary], np.bool_)[codes.indices]
        if not chosen.any():
            return {}
        texts = [lines.strings(name) for name in ("brand", "description")]
        owners, numbers = items.owners(), item_numbers(filings)
        countries = of_rows(destinations(filings), filings.strings("dispatch_country"), exports(filings))
        days = filings.ints("accepted_at").values // MICROS_PER_DAY
        lists: list[list[tuple[int, str]]] = [[] for _ in range(filings.rows)]
        for place in np.flatnonzero(chosen).tolist():
            row = int(owners[place])
            facts = (countries[row], codes[place], int(days[row]))
            found = dict.fromkeys(number for text in texts for number in self._numbers(tokens_of(text[place]), *facts))
            lists[row] += [(int(numbers[place]), number) for number in found]
        return {"rights_matches": _column([each[:MATCHES_MAX] for each in lists])} if any(lists) else {}

    def _numbers(self, tokens: Sequence[str], country: str, code: str, day: int) -> list[str]:
        """Return the numbers of the applications that apply to goods and have a word in a text."""
        return [
            application.number
            for place, token in enumerate(tokens)
            for words, application in self._by_first.get(token, ())
            if tuple(tokens[place : place + len(words)]) == words and application.covers(country, code, day)
        ]


def tokens_of(text: str) -> tuple[str, ...]:
    """Return the words of a text as they are compared: without case and accents."""
    if not text.isascii():
        text = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    return tuple(_WORD.findall(text.casefold()))


def matched_items(states: Table) -> list[list[int]]:
    """Return the numbers of the items of each state that match an application."""
    if not states.may_have("rights_matches"):
        return [[] for _ in range(states.rows)]
    lists, numbers = states.ragged("rights_matches"), states.child("rights_matches").ints("item_number").values.tolist()
    return [sorted(set(numbers[lists.span(row)])) for row in range(states.rows)]


def _column(lists: Sequence[Sequence[tuple[int, str]]]) -> Ragged:
    flat = [match for each in lists for match in each]
    columns: dict[str, Column] = {
        "item_number": Ints.of(np.array([number for number, _ in flat], np.int64)),
        "application": Strings.of([number for _, number in flat]),
    }
    return Ragged.of_lengths([len(each) for each in lists], Table(_SCHEMA, len(flat), columns))
