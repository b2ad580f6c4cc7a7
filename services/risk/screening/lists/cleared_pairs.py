"""Pairs of a name and a listed party that a person looked at and found to be two different ones: they hit no more.

False hits repeat with each parcel of the same honest party. Each pair says who cleared it, when, why and until when; it may
be narrowed to a country, a postcode or an identifier of the party, so that another bearer of the name still hits.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from libs.customs.countries import is_country
from libs.files.yaml_file import YamlError, YamlFile
from services.risk.screening.lists.party_list import ListRefused, ListVersion, digest
from services.risk.screening.names.tokens import normalise

#: What stands for the pairs among the versions of lists; no list may have this name.
CLEARED: Final = "CLEARED"
PAIRS_MAX: Final = 50_000
#: Days for which a pair is cleared at most: parties and entries change.
DAYS_MAX: Final = 1_100
_EPOCH: Final = datetime.date(1970, 1, 1).toordinal()

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
_Short = Annotated[str, msgspec.Meta(max_length=35)]


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name and an entry of a list that are not the same party."""

    name: _Text
    list: _Text
    entry: _Text
    cleared_by: _Text
    cleared_on: datetime.date
    until: datetime.date
    """Last day of acceptance of a consignment for which the pair counts."""
    reason: _Text = msgspec.field(name="why")
    country: _Short = ""
    """ISO 3166-1 alpha-2 of the party's address; "" for any, as for the others."""
    postcode: _Short = ""
    identifier: _Short = ""

    def fits(self, country: str, postcode: str, identifier: str) -> bool:
        """Whether a party that bears the name is the one that was looked at."""
        return self.country in ("", country) and self.postcode in ("", postcode) and self.identifier in ("", identifier)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal[1]
    pairs: Annotated[tuple[Pair, ...], msgspec.Meta(max_length=PAIRS_MAX)]


@dataclass(frozen=True, slots=True)
class ClearedPairs:
    """The active pairs."""

    version: ListVersion | None = None
    """None where there is no file of pairs."""
    pairs: tuple[Pair, ...] = field(default=(), repr=False)
    by_match: Mapping[tuple[str, str, str], tuple[Pair, ...]] = field(default_factory=dict, repr=False)
    """Pairs by the words of the name, the list and the entry."""

    @staticmethod
    def from_pairs(version: ListVersion, pairs: Sequence[Pair]) -> ClearedPairs:
        """Index pairs by their match."""
        by_match: defaultdict[tuple[str, str, str], list[Pair]] = defaultdict(list)
        for pair, words in zip(pairs, words_of([pair.name for pair in pairs]), strict=True):
            by_match[words, pair.list, pair.entry].append(pair)
        return ClearedPairs(version, tuple(pairs), {key: tuple(each) for key, each in by_match.items()})

    def clears(self, match: tuple[str, str, str], day: int, narrowed: tuple[str, str, str]) -> bool:
        """Whether a hit, by the words of the name, the list and the entry, is that of another party on a day since 1970; `narrowed` has
        country, postcode and identifier of the party.
        """
        pairs = self.by_match.get(match, ())
        return any(pair.until.toordinal() - _EPOCH >= day and pair.fits(*narrowed) for pair in pairs)

    @property
    def words(self) -> frozenset[str]:
        """The words of all names that a pair has."""
        return frozenset(words for words, _, _ in self.by_match)

    def uncovered(self, new: ClearedPairs) -> frozenset[tuple[str, str]]:
        """Lists and entries of the pairs that the next version has no more, or has otherwise: they may hit again."""
        return frozenset((pair.list, pair.entry) for pair in set(self.pairs) - set(new.pairs))


def words_of(names: Sequence[str]) -> list[str]:
    """The form in which names are the same for a pair: the words in ASCII and lower case, in any order."""
    return [" ".join(sorted(line.split())) for line in normalise(names)]


def load_cleared(path: Path) -> ClearedPairs:
    """Read a file of pairs; raises ListRefused with file, line and reason."""
    try:
        content = path.read_bytes()
        # Pairs and digest of one read: the file may be replaced meanwhile.
        file = YamlFile(path, content)
        read = file.convert(_File)
    except OSError as error:
        raise ListRefused(f"{path}: the file cannot be read: {error.strerror}") from None
    except YamlError as error:
        raise ListRefused(str(error)) from None
    for number, pair in enumerate(read.pairs):
        _check(pair, file.place(f"$.pairs[{number}]"))
    newest = max((pair.cleared_on for pair in read.pairs), default=None)
    return ClearedPairs.from_pairs(ListVersion(CLEARED, newest, digest(content), len(read.pairs)), read.pairs)


def _check(pair: Pair, place: str) -> None:
    if not words_of([pair.name])[0]:
        raise ListRefused(f"{place}: the name {pair.name!r} has neither a letter nor a digit")
    if pair.country and not is_country(pair.country):
        raise ListRefused(f"{place}: {pair.country!r} is no country; write ISO 3166-1 alpha-2, such as DE")
    days = (pair.until - pair.cleared_on).days
    if not 0 <= days <= DAYS_MAX:
        raise ListRefused(
            f"{place}: the pair was cleared on {pair.cleared_on} until {pair.until}; it counts for 0 to {DAYS_MAX} days, then look again"
        )
