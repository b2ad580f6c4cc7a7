"""Controls of goods as findings of an assessment: the items of a batch that are prohibited or lack documents."""

from __future__ import annotations

from typing import Final

import numpy as np

from libs.columns import Table
from luxor.common.v1.common_pb2 import FINDING_KIND_GOODS_CONTROL
from services.risk.elements.computed import Facts
from services.risk.goods.controls import Control, ControlSet, Stage, lines_of
from services.risk.rules.finding import ExtraFindings, FindingText

#: Points of a control by its lane: red alone calls for red, two yellow ones for yellow.
POINTS: Final = {"red": 800, "yellow": 300}
PROHIBITED: Final = "GOODS_PROHIBITED"
DOCUMENTS_MISSING: Final = "GOODS_DOCUMENTS_MISSING"
SENTENCE_MAX: Final = 300


def judge_goods(controls: ControlSet, table: Table, facts: Facts, stage: Stage) -> ExtraFindings:
    """Judge the items of a batch of consignments; a control that the documents of the item or its consignment lift is no finding."""
    hits = controls.judge(lines_of(table, facts), stage)
    open_hits = np.flatnonzero(~hits.lifted)
    known: dict[tuple[int, tuple[str, ...]], int] = {}
    texts: list[FindingText] = []
    places = np.zeros(len(open_hits), np.int64)
    for number, hit in enumerate(open_hits.tolist()):
        key = int(hits.control[hit]), hits.missing[hit]
        if key not in known:
            known[key] = len(texts)
            texts.append(_text(controls.controls[key[0]], key[1]))
        places[number] = known[key]
    items = hits.line[open_hits]
    return ExtraFindings(texts, places, facts.owners[items], items)


def _text(control: Control, missing: tuple[str, ...]) -> FindingText:
    text = control.text
    sentence = text.sentence
    names = [f"{document.name} ({document.type})" for document in text.documents if document.type in missing]
    needed = f" Needed: {(' or ' if text.documents_needed == 'any' else ' and ').join(names)}." if names else ""
    if len(sentence) + len(needed) <= SENTENCE_MAX:
        sentence += needed
    reason = PROHIBITED if control.prohibits else DOCUMENTS_MISSING
    return FindingText(
        text.id, text.version, POINTS[text.lane], text.lane, reason, sentence, missing, kind=FINDING_KIND_GOODS_CONTROL
    )
