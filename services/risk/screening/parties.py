"""Screening of the parties of a batch: which of them have a name that is similar to a listed one.

Each distinct name is searched once for a batch, whatever its role. A match is for officers only: filers learn neither that a
party is listed nor that its name is similar to a listed one, so that nobody is warned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Table
from libs.customs.time import days_of
from luxor.common.v1.common_pb2 import FINDING_KIND_SCREENING_MATCH
from services.risk.rules.finding import ExtraFindings, FindingText, Match
from services.risk.screening.lists.cleared_pairs import words_of
from services.risk.screening.lists.party_list import MATCH, Quality
from services.risk.screening.matching.explanation import Explainer, Explanation
from services.risk.screening.matching.index import Index
from services.risk.screening.matching.scores import STRONG, THRESHOLD, NameMatches, screen

#: Parties that are screened, by their role.
PARTIES: Final = ("consignor", "consignee", "seller", "buyer", "importer")
#: Entries that are reported for one party, the strong matches first, then the most similar.
ENTRIES_MAX: Final = 3
EXPLANATION_MAX: Final = 500
#: Number of matches of a batch from which on its findings are long work, because each match is explained in words.
MATCHES_MANY: Final = 50
#: Number of distinct names from which on the search is long work.
NAMES_MANY: Final = 2_000
RULE: Final = "LISTED_PARTY"
RULE_VERSION: Final = 2
REASON: Final = "PARTY_LISTED"
#: Points that the strongest match of a consignment adds to its score; further matches add none.
POINTS: Final = 1_000
POINTS_WEAK: Final = 400
#: Elements of a party that may restrict a cleared pair, in the order of Pair.fits.
_NARROWED_BY: Final = ("address_country", "address_postcode", "identifier")


@dataclass(frozen=True, slots=True)
class MatchLevels:
    """The levels of matches: lowest scores of names, in thousandths."""

    minimum: int = THRESHOLD
    """Lowest score of a match."""
    strong: int = STRONG
    """Lowest score of a strong match, which is not on a weak alias."""


LEVELS: Final = MatchLevels()


def screened_by(versions: str, levels: MatchLevels) -> str:
    """Return the text that records how a batch was screened: the versions of the lists, and the levels of matches."""
    return f"{versions} {MATCH}:{levels.minimum}:{levels.strong}"


def lower_than(levels: MatchLevels, screened: str) -> bool:
    """Return whether a batch that was screened as recorded may have more matches by these levels."""
    screened_levels = next((part.split(":") for part in screened.split() if part.startswith(f"{MATCH}:")), None)
    return screened_levels is not None and (
        levels.minimum < int(screened_levels[1]) or levels.strong < int(screened_levels[2])
    )


def versions_of(index: Index) -> str:
    """Return the versions of all lists of an index, and of the cleared pairs, as in an assessment."""
    versions = index.versions if index.cleared.version is None else (*index.versions, index.cleared.version)
    return " ".join(sorted(version.id for version in versions))


def party_names(table: Table) -> list[str]:
    """Return each distinct name of a party of a batch of consignments, in the order of the roles."""
    return list(dict.fromkeys(text for party in PARTIES for text in table.strings(f"{party}_name").dictionary if text))


def screened_of(table: Table, rows: npt.NDArray[np.int64]) -> Table:
    """Return rows of a batch of consignments with only the columns that screening reads."""
    names = [f"{party}_{each}" for party in PARTIES for each in ("name", *_NARROWED_BY)]
    return Table(table.schema, len(rows), {name: table.column(name).take(rows) for name in (*names, "accepted_at")})


def days_of_acceptance(table: Table) -> npt.NDArray[np.int64]:
    """Return the day of acceptance of each consignment, days since 1970. If it is unknown, it is the largest number, so that no
    cleared pair is valid on it.
    """
    accepted = table.ints("accepted_at")
    return np.where(accepted.valid, days_of(accepted.values), np.iinfo(np.int64).max)


def narrowed_by(table: Table, party: str, row: int) -> tuple[str, str, str]:
    """Return the values of a party of a consignment that may restrict a cleared pair: country, postcode and identifier."""
    country, postcode, identifier = (table.strings(f"{party}_{each}")[row] for each in _NARROWED_BY)
    return country, postcode, identifier


def screen_parties(index: Index, table: Table, levels: MatchLevels = LEVELS) -> ExtraFindings:
    """Screen the parties of a batch of consignments.

    A strong match recommends red. A match on a weak alias, or below the second level, recommends yellow and adds fewer points. A
    name and entry of a cleared pair do not match.
    """
    return match_parties(index, table, levels).findings()


def match_parties(index: Index, table: Table, levels: MatchLevels = LEVELS) -> PartyMatches:
    """Begin the screening of the parties of a batch of consignments: a batch with few names is searched at once."""
    names = party_names(table)
    matches = screen(index, names, levels.minimum) if len(names) < NAMES_MANY else None
    return PartyMatches(index, table, levels, names, matches)


class PartyMatches:
    """The screening of a batch that has begun."""

    def __init__(
        self, index: Index, table: Table, levels: MatchLevels, names: list[str], matches: NameMatches | None
    ) -> None:
        """Take the names of a batch, and their matches if they were searched."""
        self._screened = index, table, levels, names, matches

    @property
    def long(self) -> bool:
        """Whether the remaining work is long, so that it should run in a thread."""
        matches = self._screened[-1]
        return matches is None or len(matches.name) >= MATCHES_MANY

    def findings(self) -> ExtraFindings:
        """Do the remaining work, and return the findings."""
        index, table, levels, names, matches = self._screened
        matches = screen(index, names, levels.minimum) if matches is None else matches
        return _Gathered(index, table, levels, names, matches).findings()


class _Gathered:
    """The matches of a batch, collected party by party."""

    def __init__(self, index: Index, table: Table, levels: MatchLevels, names: list[str], matches: NameMatches) -> None:
        self._index = index
        self._table = table
        self._matches = matches
        self._names = names
        self._of_name: dict[str, list[int]] = {}
        self._strong = matches.firm >= levels.strong
        for match in np.lexsort((np.arange(len(matches.name)), ~self._strong, matches.name)).tolist():
            self._of_name.setdefault(names[int(matches.name[match])], []).append(match)
        self._words = dict(zip(self._of_name, words_of(list(self._of_name)), strict=True))
        self._day = days_of_acceptance(table)
        self._texts: dict[tuple[str, int], int] = {}
        self._owners: list[int] = []
        self._places: list[int] = []

    def _gather(self, party: str) -> None:
        """Collect the matches of one party of each consignment."""
        column = self._table.strings(f"{party}_name")
        for place, name in enumerate(column.dictionary):
            matches = self._of_name.get(name)
            if matches is None:
                continue
            holders = np.flatnonzero(column.indices == place).tolist()
            pairs = any(self._key(match) in self._index.cleared.by_match for match in matches)
            for holder in holders:
                left = [match for match in matches if not self._cleared(party, holder, match)] if pairs else matches
                for match in left[:ENTRIES_MAX]:
                    self._owners.append(holder)
                    self._places.append(self._texts.setdefault((party, match), len(self._texts)))

    def _key(self, match: int) -> tuple[str, str, str]:
        entry = int(self._matches.entry[match])
        words = self._words[self._names[int(self._matches.name[match])]]
        return words, self._index.version_of(entry).source, self._index.entries[entry].id

    def _cleared(self, party: str, row: int, match: int) -> bool:
        return self._index.cleared.clears(self._key(match), int(self._day[row]), narrowed_by(self._table, party, row))

    def _finding_texts(self) -> list[FindingText]:
        """Return the texts; each match is explained once, for all its parties."""
        matches = list(dict.fromkeys(match for _, match in self._texts))
        rows, entry_names, scores = (
            values[matches].tolist() for values in (self._matches.name, self._matches.entry_name, self._matches.score)
        )
        names = {row: place for place, row in enumerate(dict.fromkeys(rows))}
        explainer = Explainer(self._index, [self._names[row] for row in names], entry_names)
        explanations = {
            match: explainer.explain(names[row], at, score)
            for match, row, at, score in zip(matches, rows, entry_names, scores, strict=True)
        }
        return [_text(party, explanations[match], strong=bool(self._strong[match])) for party, match in self._texts]

    def findings(self) -> ExtraFindings:
        """Return the findings. Of a consignment's matches only the strongest has points."""
        for party in PARTIES:
            self._gather(party)
        places, owners = np.array(self._places, np.int64), np.array(self._owners, np.int64)
        if not len(owners):
            return ExtraFindings((), places, owners, owners)
        finding_texts = self._finding_texts()
        points = np.array([text.points for text in finding_texts], np.int64)[places]
        first = np.lexsort((np.arange(len(owners)), -points, owners))
        silent = np.ones(len(owners), np.bool_)
        silent[first[np.unique(owners[first], return_index=True)[1]]] = False
        # The texts of findings without points follow, once more each.
        quiet = np.unique(places[silent])
        texts = [*finding_texts, *(replace(finding_texts[place], points=0) for place in quiet.tolist())]
        places[silent] = len(finding_texts) + np.searchsorted(quiet, places[silent])
        return ExtraFindings(texts, places, owners, np.full(len(owners), -1, np.int64))


def _text(party: str, explanation: Explanation, *, strong: bool) -> FindingText:
    return FindingText(
        RULE,
        RULE_VERSION,
        POINTS if strong else POINTS_WEAK,
        "red" if strong else "yellow",
        REASON,
        f"The name of the {party} is that of a listed party, or near to it."
        if strong
        else f"The name of the {party} resembles that of a listed party, or is a weak alias of one.",
        match=Match(
            party,
            explanation.version,
            explanation.entry,
            explanation.score,
            explanation_of(explanation),
        ),
        confidential=True,
        kind=FINDING_KIND_SCREENING_MATCH,
    )


def explanation_of(explanation: Explanation) -> str:
    """Return an explanation of a match in words: the listed name and how it matched. It has no other data of the listed party."""
    parts = [f"{each.token} is {each.entry_token}: {each.relation}" for each in explanation.meetings]
    if explanation.only_screened:
        parts.append(f"only in the consignment: {', '.join(explanation.only_screened)}")
    if explanation.only_entry:
        parts.append(f"only in the list: {', '.join(explanation.only_entry)}")
    weak = ", a weak alias" if explanation.quality is Quality.WEAK else ""
    sentence = f"{explanation.score} of 1000 for {explanation.entry_name}{weak}: {'; '.join(parts)}"
    return sentence if len(sentence) <= EXPLANATION_MAX else sentence[: EXPLANATION_MAX - 1] + "…"
