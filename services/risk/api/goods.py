"""Converts lines of CheckGoods to columns, and the verdicts to messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from libs.columns import Ints, Strings
from libs.customs.countries import ORIGINS, is_country
from luxor.common.v1 import common_pb2
from luxor.risk.v1 import risk_pb2 as pb
from services.risk.goods.controls import Answer, Control, ControlMatches, ControlSet, Lines

LINES_MAX: Final = 1_000
DESCRIPTION_MAX: Final = 512
DOCUMENTS_MAX: Final = 20
CODE: Final = re.compile(r"[0-9]{2}([0-9]{2}){0,4}")
_UN_NUMBER: Final = re.compile(r"[0-9]{4}")
_DOCUMENT_TYPE: Final = re.compile(r"[A-Z0-9]{3,8}")

VERDICTS: Final = {
    Answer.FREE: pb.GOODS_VERDICT_FREE,
    Answer.LIFTED: pb.GOODS_VERDICT_LIFTED,
    Answer.NOT_COVERED: pb.GOODS_VERDICT_NOT_COVERED,
    Answer.DOCUMENTS_MISSING: pb.GOODS_VERDICT_DOCUMENTS_MISSING,
    Answer.PROHIBITED: pb.GOODS_VERDICT_PROHIBITED,
}
_LANES: Final = {"red": common_pb2.LANE_RED, "yellow": common_pb2.LANE_YELLOW}


def validation_error_of(line: pb.GoodsLine) -> tuple[str, str]:
    """Why a line cannot be judged, a reason of the catalogue, and the element at fault; "" twice where it can."""
    if not line.destination_country:
        return "GOODS_DESTINATION_MISSING", "destination_country"
    if not (line.commodity_code or line.description.strip()):
        return "GOODS_UNNAMED", "commodity_code"
    for element in ("destination_country", "dispatch_country"):
        country = getattr(line, element)
        if country and not is_country(country):
            return "COUNTRY_UNKNOWN", element
    if line.origin_country and line.origin_country not in ORIGINS:
        return "COUNTRY_UNKNOWN", "origin_country"
    for element, form in (("commodity_code", CODE), ("un_number", _UN_NUMBER)):
        value = getattr(line, element)
        if value and not form.fullmatch(value):
            return "GOODS_ELEMENT_MALFORMED", element
    if len(line.description) > DESCRIPTION_MAX:
        return "GOODS_ELEMENT_MALFORMED", "description"
    if len(line.document_types) > DOCUMENTS_MAX or not all(map(_DOCUMENT_TYPE.fullmatch, line.document_types)):
        return "GOODS_ELEMENT_MALFORMED", "document_types"
    return "", ""


def lines_asked(lines: Sequence[pb.GoodsLine], day: int) -> Lines:
    """Lines of a request as columns, all judged by the law of one day (days since 1970-01-01)."""

    def texts(element: str) -> Strings:
        return Strings.of([getattr(line, element) for line in lines])

    return Lines(
        texts("description"),
        texts("commodity_code"),
        texts("origin_country"),
        texts("un_number"),
        texts("dispatch_country"),
        texts("destination_country"),
        Ints.of([line.transport_mode for line in lines]),
        Ints.constant(day, len(lines)),
        [frozenset(line.document_types) for line in lines],
    )


def check_goods(controls: ControlSet, lines: Sequence[pb.GoodsLine], day: int) -> list[pb.GoodsAnswer]:
    """Return the answer for each line, in their order. A line that cannot be checked has a reason and does not affect the others."""
    faults = [validation_error_of(line) for line in lines]
    answers = [pb.GoodsAnswer(reason=reason, path=path) for reason, path in faults]
    good = [row for row, (reason, _) in enumerate(faults) if not reason]
    asked = lines_asked([lines[row] for row in good], day)
    hits = controls.judge(asked)
    for row, verdict in zip(good, controls.answers(asked, hits), strict=True):
        answers[row].verdict = VERDICTS[verdict]
    for hit in range(len(hits)):
        row = good[int(hits.line[hit])]
        answers[row].controls.append(_control_message(controls.controls[int(hits.control[hit])], hits, hit))
    return answers


def _control_message(control: Control, matches: ControlMatches, index: int) -> pb.GoodsControl:
    text = control.text
    missing = matches.missing[index]
    return pb.GoodsControl(
        id=text.id,
        version=text.version,
        jurisdiction=control.jurisdiction,
        on_export=text.direction == "export",
        prohibits=control.prohibits,
        lifted=bool(np.bool_(matches.lifted[index])),
        lane=_LANES[text.lane],
        sentence=text.sentence,
        missing=[pb.GoodsDocument(type=each.type, name=each.name) for each in text.documents if each.type in missing],
        any_document_lifts=text.documents_needed == "any",
        laws=[pb.GoodsLaw(law=each.law, article=each.article, verified=each.verified) for each in control.references],
    )
