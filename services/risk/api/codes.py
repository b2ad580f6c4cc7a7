"""Converts lines of SuggestCodes to a batch of descriptions, and suggestions to messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from luxor.risk.v1 import risk_pb2 as pb
from services.risk.api.goods import CODE
from services.risk.codes.code_model_file import CodeModel
from services.risk.codes.ngrams import features_of
from services.risk.codes.suggestions import suggest, warning_of

_DIGITS: Final = 6
"""Probabilities are rounded to so many decimals."""


def validation_error_of(line: pb.DescribedGoods) -> tuple[str, str]:
    """Return why a line cannot be answered, a reason of the catalogue, and the element at fault; "" twice where it can."""
    if not line.description.strip():
        return "DESCRIPTION_MISSING", "description"
    if line.declared_code and not CODE.fullmatch(line.declared_code):
        return "GOODS_ELEMENT_MALFORMED", "declared_code"
    return "", ""


def suggest_codes(model: CodeModel, lines: Sequence[pb.DescribedGoods]) -> list[pb.CodeAnswer]:
    """Return the answer for each line, in their order. A line that cannot be answered has a reason and does not affect the others."""
    errors = [validation_error_of(line) for line in lines]
    answers = [pb.CodeAnswer(reason=reason, path=path) for reason, path in errors]
    valid = [row for row, (reason, _) in enumerate(errors) if not reason]
    features = features_of([lines[row].description for row in valid])
    found = suggest(model.weights, model.content.sharpness, features, [lines[row].declared_code for row in valid])
    codes = model.weights.codes
    for row, places, chances, declared in zip(
        valid, found.places.tolist(), found.probabilities.tolist(), found.declared.tolist(), strict=True
    ):
        answer = answers[row]
        answer.suggestions.extend(
            pb.SuggestedCode(code=codes[place], probability=round(chance, _DIGITS))
            for place, chance in zip(places, chances, strict=True)
            if chance > 0
        )
        if declared == declared:
            answer.declared_probability = round(declared, _DIGITS)
        answer.warning = warning_of(lines[row].declared_code, declared, bool(answer.suggestions), model.unlikely_below)
        answer.path = "declared_code" if answer.warning else ""
    return answers
