"""The messages of scorecards."""

from __future__ import annotations

from typing import Final

from libs.customs.time import day_text, parse_day
from libs.server.errors import Refusal
from luxor.ingestion.v1 import filers_pb2 as pb
from services.ingestion.quality.scorecards import Measure, read_measure
from services.ingestion.quality.scores import Term, Weights
from services.ingestion.store.scorecards import StoredCard

DAYS_MAX: Final = 400
PAGE_MAX: Final = 31
"""With all reasons and long examples a page has some megabytes."""


def days_of(request: pb.GetScorecardRequest) -> tuple[int, int]:
    """Return the first and the last day of a request, days since 1970-01-01. Raise Refusal."""
    days = []
    for name in ("from_day", "to_day"):
        text = getattr(request, name)
        try:
            days.append(parse_day(text))
        except ValueError:
            raise Refusal("DAY_MALFORMED", path=name, value=text) from None
    if not 0 <= days[0] <= days[1] <= days[0] + DAYS_MAX:
        raise Refusal("SCORECARD_DAYS_OUT_OF_BOUNDS", path="to_day", value=request.to_day, days_max=DAYS_MAX)
    return days[0], days[1]


def message(stored: StoredCard, weights: Weights) -> pb.Scorecard:
    """Return the message of a scorecard, its reasons by the points that they take from newest versions."""
    card = stored.card
    first, newest = read_measure(card.first), read_measure(card.newest)
    made = pb.Scorecard(day=day_text(stored.key.day), filer=stored.key.filer, refused=card.refused)
    made.first.CopyFrom(_measure(first))
    made.newest.CopyFrom(_measure(newest))
    reasons = {**first.reasons, **newest.reasons}
    for reason in sorted(reasons, key=lambda each: (-weights.points[each] * newest.reasons.get(each, 0), each)):
        line = made.reasons.add(
            reason=reason,
            first=first.reasons.get(reason, 0),
            newest=newest.reasons.get(reason, 0),
            term=weights.terms[reason].name.lower(),
            points=weights.points[reason],
        )
        for example in card.examples:
            if example.reason == reason:
                line.examples.add(mrn=example.mrn, path=example.path, value=example.value)
    for reason in sorted(card.refusals, key=lambda each: (-card.refusals[each].consignments, each)):
        refusal = made.refusals.add(reason=reason, consignments=card.refusals[reason].consignments)
        for refused in card.refusals[reason].examples:
            refusal.examples.add(local_reference=refused.local_reference, path=refused.path, value=refused.value)
    return made


def _measure(measure: Measure) -> pb.QualityMeasure:
    terms = {term.name.lower(): measure.terms[term] for term in Term}
    made = {name: pb.ScoreMeasure(judged=judged, total=total) for name, (judged, total) in terms.items()}
    return pb.QualityMeasure(score=pb.ScoreMeasure(judged=measure.filings, total=measure.score), **made)
