"""What screening again finds of a batch that was screened before: hits that its answers do not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Ragged, Table
from services.risk.scoring import LANES, More, told
from services.risk.screening.delta import Again
from services.risk.screening.index import Index
from services.risk.screening.parties import PARTIES, MatchLevels, party_names, screen_parties, screened_of

#: Which party met which entry of which list, and the lane that it advises.
Known = Mapping[tuple[str, str, str], int]
_NOTHING: Final[Known] = {}


@dataclass(frozen=True, slots=True)
class Found:
    """Consignments of a batch that may be hit anew: n of them."""

    rows: npt.NDArray[np.int64]
    """Their rows in the batch; (n,)."""
    findings: Ragged
    """All that the screening says of each now."""

    def unknown(self, answers: Table, earlier: Mapping[int, Known]) -> tuple[npt.NDArray[np.int64], Ragged]:
        """Which of the n are to be told, and of each all the hits that its answer does not have.

        `answers` are the batch's AssessmentColumns; `earlier` is what was told after them, by place among the n. A hit that
        advises a higher lane than before is another one.
        """
        owners = self.findings.owners()
        keys = _keys(self.findings)
        lanes = _lanes(self.findings)
        kept = np.zeros(len(owners), np.bool_)
        tell = np.zeros(len(self.rows), np.bool_)
        answered = answers.take(self.rows).ragged("findings")
        before = _known(answered)
        for row, (place, key, lane) in enumerate(zip(owners.tolist(), keys, lanes, strict=True)):
            kept[row] = before[place].get(key, 0) < lane
            if kept[row] and earlier.get(place, _NOTHING).get(key, 0) < lane:
                tell[place] = True
        chosen = np.flatnonzero(kept & tell[owners])
        told_of = np.flatnonzero(tell)
        counts = np.bincount(owners[chosen], minlength=len(self.rows))[told_of]
        findings = self.findings.values
        assert isinstance(findings, Table)
        return told_of, Ragged.of_lengths(counts, findings.take(chosen))


def likely_names(again: Again, tables: Sequence[Table], levels: MatchLevels) -> frozenset[str]:
    """Names of parties that what has come since hits. Of several batches together: half of what a few hundred names cost is
    the same for thousands.
    """
    names = list(dict.fromkeys(name for table in tables for name in party_names(table)))
    return frozenset(names[name] for name in np.unique(again.screen(names, levels.hit).name).tolist())


def look_again(likely: frozenset[str], index: Index, table: Table, levels: MatchLevels) -> Found:
    """Screen who bears a likely name against everything in force."""
    rows = np.zeros(0, np.int64)
    if likely:
        holds = np.zeros(table.rows, np.bool_)
        for party in PARTIES:
            holds |= table.strings(f"{party}_name").isin(likely)
        rows = np.flatnonzero(holds)
    return Found(rows, findings_of(screen_parties(index, screened_of(table, rows), levels), len(rows)))


def findings_of(more: More, rows: int) -> Ragged:
    """What was found as a column of FindingColumns, of so many consignments."""
    order = np.argsort(more.owners, kind="stable")
    places = more.places[order]
    points = np.array([text.points for text in more.texts], np.int64)[places]
    advised = np.array([LANES[text.lane] for text in more.texts], np.int64)[places]
    items = np.zeros(len(order), np.int64)
    return Ragged.of_lengths(np.bincount(more.owners, minlength=rows), told(more.texts, places, points, items, advised))


def known_of(findings: Ragged) -> Known:
    """The hits of one consignment, the only row of findings."""
    return _known(findings)[0]


def _known(findings: Ragged) -> list[Known]:
    """The hits of each consignment."""
    known: list[dict[tuple[str, str, str], int]] = [{} for _ in range(len(findings))]
    for row, key, lane in zip(findings.owners().tolist(), _keys(findings), _lanes(findings), strict=True):
        known[row][key] = max(lane, known[row].get(key, 0))
    return list(known)


def _table(findings: Ragged) -> Table:
    assert isinstance(findings.values, Table)
    return findings.values


def _keys(findings: Ragged) -> list[tuple[str, str, str]]:
    table = _table(findings)
    sources = table.strings("list").translate(lambda version: version.partition(":")[0])
    return list(
        zip(table.strings("party").tolist(), sources.tolist(), table.strings("list_entry").tolist(), strict=True)
    )


def _lanes(findings: Ragged) -> list[int]:
    lanes: list[int] = _table(findings).ints("lane").filled(0).tolist()
    return lanes
