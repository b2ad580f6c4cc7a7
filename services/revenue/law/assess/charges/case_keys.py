"""Keys of cases: the regime and the answers to all that the charges ask, in one whole number for each row and item."""

from services.revenue.law.assess.eligibility.eligibility import Eligibility
from services.revenue.law.assess.valuation.values import Values
from services.revenue.law.batch.arithmetic import Flags, Int64, some
from services.revenue.law.batch.filings import Filings
from services.revenue.law.program.features import Features, claims_of
from services.revenue.law.program.program import Program


def row_keys(features: Features, regime: Int64, eligibility: Eligibility) -> Int64:
    """Return the key of each row."""
    key, at = regime << features.row_bits, 0
    for limit in range(features.limits):
        if eligibility.limits[limit].entries.needs:
            key += eligibility.row_within[:, limit] * (1 << at + limit)
    at += features.limits
    for place, scheme in enumerate(features.schemes):
        usable = eligibility.conditions.usable[:, scheme]
        if some(usable):
            key += usable * (1 << at + place)
    at += len(features.schemes)
    for place, number in enumerate(features.row_conditions):
        fits = eligibility.conditions.of_rows(number)
        if some(fits):
            key += fits * (1 << at + place)
    return key


def item_answers(
    features: Features, program: Program, filings: Filings, values: Values, eligibility: Eligibility
) -> Int64 | None:
    """Return the bits of each item that go behind the key of its row; None where no item has any."""
    flags: list[tuple[int, Flags]] = []
    at = features.goods_bits
    if eligibility.item_within is not None:
        flags += [(at + limit, eligibility.item_within[:, limit]) for limit in range(features.limits)]
    at += features.limits
    flags += [
        (at + place, eligibility.conditions.of_items(each)) for place, each in enumerate(features.item_conditions)
    ]
    at += len(features.item_conditions)
    if features.claims and any(filings.preference.dictionary):
        claims = claims_of(filings)
        flags += [(at + place, (claims & digits) != 0) for place, digits in enumerate(features.claims)]
    at += len(features.claims)
    flags += [(at + relief, relieved) for relief, relieved in eligibility.relieved.items()]
    answers = features.of_goods(program, filings, values.regime, values.groups)
    for bit, flag in flags:
        if some(flag):
            answers = flag * (1 << bit) if answers is None else answers + flag * (1 << bit)
    return answers
