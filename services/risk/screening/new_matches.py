"""Rescreening of a batch: matches that its answers do not contain, and cleared matches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from libs.columns import Ints, Ragged, Strings, Table
from luxor.common.v1.common_pb2 import FINDING_KIND_SCREENING_MATCH, LANE_GREEN, SELECTION_CAUSE_MINIMUM
from services.risk.rules.finding import ExtraFindings
from services.risk.rules.schema import SCORE_MAX
from services.risk.rules.scoring import LANES, findings_table
from services.risk.screening.lists.cleared_pairs import words_of
from services.risk.screening.matching.index import Index
from services.risk.screening.matching.list_changes import ChangedEntries
from services.risk.screening.parties import (
    PARTIES,
    MatchLevels,
    days_of_acceptance,
    narrowed_by,
    party_names,
    screen_parties,
    screened_of,
)

PPM: Final = 1_000_000
#: Which party met which entry of which list.
Key: TypeAlias = tuple[str, str, str]
#: Matches, and the lane that each advises.
KnownMatches: TypeAlias = Mapping[Key, int]
#: Whether a match of a row of the batch is cleared, that is, of another party.
Cleared: TypeAlias = Callable[[int, Key], bool]


@dataclass(frozen=True, slots=True)
class Earlier:
    """What was announced last of a filing after its answer."""

    at: int = 0
    """When, microseconds; 0 for never."""
    matches: KnownMatches = field(default_factory=dict)
    cleared: frozenset[tuple[str, str, str]] = frozenset()


NEVER: Final = Earlier()


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be announced of some of n consignments."""

    places: npt.NDArray[np.int64]
    """Which of the n."""
    findings: Ragged
    """All their matches that their answers do not contain."""
    cleared: Ragged
    """All their cleared matches."""


@dataclass(frozen=True, slots=True)
class BatchMatches:
    """Consignments of a batch that may have a new or a cleared match: n of them."""

    rows: npt.NDArray[np.int64]
    """Their rows in the batch; (n,)."""
    findings: Ragged
    """All that the screening says of each now."""

    def take(self, places: npt.NDArray[np.int64]) -> BatchMatches:
        """Some of them."""
        return BatchMatches(self.rows[places], self.findings.take(places))

    def changes(self, answers: Table, earlier: Mapping[int, Earlier], cleared: Cleared) -> Changes:
        """What is to be announced of these consignments: hits that nobody was told, and hits that are cleared since.

        `answers` are the batch's AssessmentColumns; `earlier` is what was announced after them, by place among the n. A hit that
        advises a higher lane than before is another one, and so is one that was cleared and hits again.
        """
        answered = answers.take(self.rows).ragged("findings")
        before, now = _places(answered), _places(self.findings)
        fresh: list[int] = []
        gone: list[Key] = []
        lengths, cleared_lengths, tell = [], [], []
        for place, row in enumerate(self.rows.tolist()):
            last = earlier.get(place, NEVER)
            known = {key: lane for key, (lane, _) in before[place].items() if key not in last.cleared}
            more = [(key, lane, at) for key, (lane, at) in now[place].items() if known.get(key, 0) < lane]
            over = [
                key
                for key in dict.fromkeys((*before[place], *last.matches, *sorted(last.cleared)))
                if key not in now[place] and cleared(row, key)
            ]
            if not (any(last.matches.get(key, 0) < lane for key, lane, _ in more) or set(over) - last.cleared):
                continue
            tell.append(place)
            fresh += [at for _, _, at in more]
            gone += over
            lengths.append(len(more))
            cleared_lengths.append(len(over))
        return Changes(
            np.array(tell, np.int64),
            Ragged.of_lengths(np.array(lengths, np.int64), _table(self.findings).take(np.array(fresh, np.int64))),
            Ragged.of_lengths(np.array(cleared_lengths, np.int64), _named(gone, _table(self.findings))),
        )


def likely_names(changed_entries: ChangedEntries, tables: Sequence[Table], levels: MatchLevels) -> frozenset[str]:
    """Names of parties that what has come since hits. Of several batches together: half of what a few hundred names cost is
    the same for thousands.
    """
    names = list(dict.fromkeys(name for table in tables for name in party_names(table)))
    return frozenset(names[name] for name in np.unique(changed_entries.screen(names, levels.minimum).name).tolist())


def rescreen_likely(likely: frozenset[str], index: Index, table: Table, levels: MatchLevels) -> BatchMatches:
    """Screen the parties with a likely name against all active lists."""
    rows = np.zeros(0, np.int64)
    if likely:
        holds = np.zeros(table.rows, np.bool_)
        for party in PARTIES:
            holds |= table.strings(f"{party}_name").isin(likely)
        rows = np.flatnonzero(holds)
    return BatchMatches(rows, findings_of(screen_parties(index, screened_of(table, rows), levels), len(rows)))


def findings_of(findings: ExtraFindings, rows: int) -> Ragged:
    """What was found as a column of FindingColumns, of so many consignments."""
    order = np.argsort(findings.owners, kind="stable")
    places = findings.places[order]
    points = np.array([text.points for text in findings.texts], np.int64)[places]
    advised = np.array([LANES[text.lane] for text in findings.texts], np.int64)[places]
    items = np.zeros(len(order), np.int64)
    return Ragged.of_lengths(
        np.bincount(findings.owners, minlength=rows), findings_table(findings.texts, places, points, items, advised)
    )


def earlier_of(event: Table) -> Earlier:
    """What an event (ScreeningColumns of one row) announced."""
    hits = {key: lane for key, (lane, _) in _places(event.ragged("findings"))[0].items()}
    return Earlier(int(event.ints("screened_at").values[0]), hits, frozenset(_places(event.ragged("cleared"))[0]))


def cleared_in(index: Index, table: Table) -> Cleared:
    """Return a function that states whether a cleared pair names a match of a batch of consignments."""
    day = days_of_acceptance(table)
    words: dict[str, str] = {}

    def cleared(row: int, key: Key) -> bool:
        party, source, entry = key
        name = table.strings(f"{party}_name")[row]
        if name not in words:
            words[name] = words_of([name])[0]
        return index.cleared.clears((words[name], source, entry), int(day[row]), narrowed_by(table, party, row))

    return cleared


def bearers(index: Index, tables: Sequence[Table]) -> frozenset[str]:
    """Names of parties that a cleared pair may be about."""
    words = index.cleared.words
    if not words:
        return frozenset()
    names = list(dict.fromkeys(name for table in tables for name in party_names(table)))
    return frozenset(name for name, each in zip(names, words_of(names), strict=True) if each in words)


def remaining_lane(
    answers: Table, cleared: Ragged, thresholds: Sequence[tuple[int, int, int]]
) -> npt.NDArray[np.int64]:
    """The lane that is left of answers (AssessmentColumns, a row each) without cleared hits: by what else was found, the score and the draw.

    `thresholds` has per row the points from which blue, yellow and red are called for.
    """
    findings, found = answers.ragged("findings"), answers.child("findings")
    over = [set(each) for each in _places(cleared)]
    owners = findings.owners()
    kept = np.array([key not in over[row] for row, key in zip(owners.tolist(), _keys(findings), strict=True)], np.bool_)
    left = np.full(answers.rows, int(LANE_GREEN), np.int64)
    np.maximum.at(left, owners[kept], found.ints("lane").filled(0)[kept])
    points = np.bincount(owners[kept], found.ints("points").filled(0)[kept], answers.rows).astype(np.int64)
    weight = PPM - answers.ints("trusted_discount_ppm").filled(0)
    score = np.minimum(points, SCORE_MAX) * weight // PPM
    by_score = LANE_GREEN + (score[:, None] >= np.array(thresholds, np.int64).reshape(-1, 3)).sum(axis=1)
    drawn = answers.ints("selection_cause").filled(0) >= SELECTION_CAUSE_MINIMUM
    by_draw = np.where(drawn, answers.ints("lane").values, int(LANE_GREEN))
    lanes: npt.NDArray[np.int64] = np.maximum(np.maximum(left, by_score), by_draw)
    return lanes


def _places(findings: Ragged) -> list[dict[Key, tuple[int, int]]]:
    """Return the matches of each consignment, each with the highest lane that it advises and the place of that finding."""
    table = _table(findings)
    listed = (table.ints("kind").filled(FINDING_KIND_SCREENING_MATCH) == FINDING_KIND_SCREENING_MATCH).tolist()
    lanes: list[int] = table.ints("lane").filled(0).tolist()
    known: list[dict[Key, tuple[int, int]]] = [{} for _ in range(len(findings))]
    for at, (row, key) in enumerate(zip(findings.owners().tolist(), _keys(findings), strict=True)):
        if listed[at] and (key not in known[row] or known[row][key][0] < lanes[at]):
            known[row][key] = lanes[at], at
    return known


def _named(keys: Sequence[Key], like: Table) -> Table:
    """Findings that tell party, list and entry alone."""
    columns = {
        name: Strings.of([key[place] for key in keys]) for place, name in enumerate(("party", "list", "list_entry"))
    }
    kind = Ints.constant(FINDING_KIND_SCREENING_MATCH, len(keys))
    return Table(like.schema, len(keys), {**columns, "kind": kind})


def _table(findings: Ragged) -> Table:
    assert isinstance(findings.values, Table)
    return findings.values


def _keys(findings: Ragged) -> list[tuple[str, str, str]]:
    table = _table(findings)
    sources = table.strings("list").translate(lambda version: version.partition(":")[0])
    return list(
        zip(table.strings("party").tolist(), sources.tolist(), table.strings("list_entry").tolist(), strict=True)
    )
