"""Screening of a batch's parties: who bears a name that is near to a listed one.

Each distinct name is looked up once a batch, whatever its part. What a hit says to everybody names neither list nor
entry, so that a filer is not warned; officers have these beside it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from libs.columns import Table
from luxor.risk.v1.risk_pb2 import FINDING_KIND_LISTED_PARTY
from services.risk.finding import FindingText, Match
from services.risk.scoring import More
from services.risk.screening.explaining import Explanation, explain
from services.risk.screening.index import Index
from services.risk.screening.matching import THRESHOLD, screen

#: Parties that are screened, by the part that they have.
PARTIES: Final = ("consignor", "consignee", "seller", "buyer", "importer")
#: Entries told for one party, the nearest first.
ENTRIES_TOLD_MAX: Final = 3
EXPLANATION_MAX: Final = 500
RULE: Final = "LISTED_PARTY"
REASON: Final = "PARTY_LISTED"
POINTS: Final = 1_000


def versions_of(index: Index) -> str:
    """The versions of all lists of an index, as an assessment tells them."""
    return " ".join(sorted(version.id for version in index.versions))


def screen_parties(index: Index, table: Table, threshold: int = THRESHOLD) -> More:
    """Screen the parties of a batch of consignments; `threshold` is the least score of a hit, thousandths."""
    columns = [table.strings(f"{party}_name") for party in PARTIES]
    distinct: dict[str, int] = {}
    rows_of = [
        np.array([distinct.setdefault(text, len(distinct)) if text else -1 for text in column.dictionary], np.int64)
        for column in columns
    ]
    names = list(distinct)
    hits = screen(index, names, threshold)
    if not len(hits.name):
        nothing = np.zeros(0, np.int64)
        return More((), nothing, nothing, nothing)
    texts: list[FindingText] = []
    places: list[int] = []
    owners: list[int] = []
    for party, column, rows in zip(PARTIES, columns, rows_of, strict=True):
        name_of_row = rows[column.indices] if len(column.dictionary) else np.full(table.rows, -1, np.int64)
        for name in np.unique(hits.name).tolist():
            holders = np.flatnonzero(name_of_row == name).tolist()
            if not holders:
                continue
            for hit in np.flatnonzero(hits.name == name)[:ENTRIES_TOLD_MAX].tolist():
                score = int(hits.score[hit])
                told = explain(index, names[name], int(hits.listed[hit]), score)
                texts.append(_text(party, told))
                places += [len(texts) - 1] * len(holders)
                owners += holders
    return More(texts, np.array(places, np.int64), np.array(owners, np.int64), np.full(len(owners), -1, np.int64))


def _text(party: str, told: Explanation) -> FindingText:
    return FindingText(
        RULE,
        1,
        POINTS,
        "red",
        REASON,
        f"The name of the {party} is that of a listed party, or near to it.",
        match=Match(party, told.version, told.entry, told.score, explanation_of(told)),
        confidential=True,
        kind=FINDING_KIND_LISTED_PARTY,
    )


def explanation_of(told: Explanation) -> str:
    """Which listed name was met and how, in words; of the listed party nothing but its name."""
    parts = [f"{each.token} is {each.listed}: {each.how}" for each in told.meetings]
    if told.only_screened:
        parts.append(f"only in the consignment: {', '.join(told.only_screened)}")
    if told.only_listed:
        parts.append(f"only in the list: {', '.join(told.only_listed)}")
    sentence = f"{told.score} of 1000 for {told.listed_name}: {'; '.join(parts)}"
    return sentence if len(sentence) <= EXPLANATION_MAX else sentence[: EXPLANATION_MAX - 1] + "…"
