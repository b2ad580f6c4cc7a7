"""Assessments as the columns of luxor.revenue.v1.AssessmentColumns."""

import numpy as np

from libs.columns import Bools, Column, Ints, Ragged, Strings, Table, schema_of
from luxor.revenue.v1.revenue_pb2 import AssessmentColumns
from services.revenue.law.assess.assessment import Assessment
from services.revenue.law.assess.charge_accounts import accounts_of
from services.revenue.law.assess.securities import NOBODY, Securities
from services.revenue.law.batch.arithmetic import LARGEST, Flags, Int64
from services.revenue.law.batch.filings import Filings
from services.revenue.law.batch.reasons import Note, Reason
from services.revenue.law.batch.units import REPORTED, Measure
from services.revenue.law.program.program import COLLECTORS, Program
from services.revenue.law.source.rates import METHODS

_SCHEMA = schema_of(AssessmentColumns)
_REASONS = ["", *(reason.name for reason in Reason if reason is not Reason.NONE)]
_NOTES = [note.name or "" for note in Note]
_NOTE_BITS = np.array([note.value for note in Note], dtype=np.int64)
_SENTENCES = [
    "percent", "percent_by_tariff", "percent_by_default", "per_tariff_line", "per_item", "per_consignment", "per_kilogram",
    "by_expression",
]  # fmt: skip
_SENTENCE_OF_METHOD = np.array([0, 0, 3, 4, 5, 6, 7, 7], dtype=np.int64)
assert METHODS[2:] == ("tariff_line", "item", "consignment", "kilogram", "expression", "seasonal")
SENTENCES = [f"{name}{ending}" for ending in ("", "_waived", "_returned") for name in _SENTENCES]
"""Ids of the sentences that explain a charge: levied, waived because it is too small, not levied because the goods come back."""


def answer_of(assessment: Assessment, declarant: Strings, filer: Strings, securities: Securities = NOBODY) -> Table:
    """Return a batch's assessment as a table of AssessmentColumns; accounts are the declarant's, else the filer's.

    Exports owe nothing, in the currency of their first item; their intrinsic value is what their items are declared at.
    """
    accounts = accounts_of(assessment, declarant, filer, securities)
    valued, exported = assessment.valued, assessment.exports
    known = valued | exported
    program = assessment.program
    by_collector = dict(zip(COLLECTORS, assessment.by_collector, strict=True))
    columns: dict[str, Column] = {
        "reason": Strings(_REASONS, np.where(exported, 0, assessment.reason).astype(np.int32)),
        "currency": _of_books(program, assessment.regime, valued, [read.rulebook.currency for read in program.books]),
        "intrinsic_value": Ints(assessment.intrinsic, valued),
        "customs_value": Ints(assessment.customs_value, valued),
        "item_customs_values": _item_values(assessment),
        "duty": Ints(assessment.by_kind[0], known),
        "tax": Ints(assessment.by_kind[1], known),
        "fee": Ints(assessment.by_kind[2], known),
        "collected_by_customs": Ints(by_collector["customs"], known),
        "collected_by_vendor": Ints(by_collector["vendor"], known),
        "collected_by_carrier": Ints(by_collector["carrier"], known),
        "collected_by_postal_operator": Ints(by_collector["postal_operator"], known),
        "deferred_account": accounts.rows,
        "rulebook_version": _of_books(program, assessment.regime, valued, [read.version for read in program.books]),
        "exchange_day": Ints(np.where(valued, assessment.exchange_day, 0), valued),
        "notes": _notes(assessment.notes | accounts.refused * int(Note.ACCOUNT_NOT_ALLOWED)),
        "charges": Ragged(assessment.offsets, _charges(assessment, accounts.charges)),
        "generation": Ints(np.zeros(assessment.filings.rows, dtype=np.int64), known),
        "reviewed": Ints(np.where(valued, assessment.reviewed, 0), known),
    }
    if exported.any():
        columns |= _declared(assessment.filings, exported, columns)
    if assessment.uncovered:
        columns["not_covered"] = _not_covered(assessment)
    return Table(_SCHEMA, assessment.filings.rows, columns)


def _declared(filings: Filings, exported: Flags, columns: dict[str, Column]) -> dict[str, Column]:
    """Return currency and intrinsic value with those that exports are declared at; no value where an item has none, or another currency."""
    currency, intrinsic = columns["currency"], columns["intrinsic_value"]
    assert isinstance(currency, Strings)
    assert isinstance(intrinsic, Ints)
    names, values, valid = currency.tolist(), intrinsic.values.copy(), intrinsic.valid.copy()
    for row in np.flatnonzero(exported).tolist():
        items = range(*filings.offsets[row : row + 2].tolist())
        stated = [filings.price_currency[item] for item in items]
        names[row] = next(filter(None, stated), "")
        # A sum of Python's integers: no number of items wraps it.
        total = sum(int(filings.price.values[item]) for item in items)
        valid[row] = len(set(stated)) == 1 and bool(filings.price.valid[items].all()) and 0 <= total <= LARGEST
        values[row] = total if valid[row] else 0
    return {"currency": Strings.of(names), "intrinsic_value": Ints(values, valid)}


def _item_values(assessment: Assessment) -> Ragged:
    """Return the customs values of the items of each row; none where the row could not be assessed."""
    filings, valued = assessment.filings, assessment.valued
    if valued.all():
        return Ragged(filings.offsets, Ints.of(assessment.item_customs_value))
    lengths = np.where(valued, np.diff(filings.offsets), 0)
    return Ragged.of_lengths(lengths, Ints.of(assessment.item_customs_value[valued[filings.item_row]]))


def _of_books(program: Program, regime: Int64, valued: Flags, words: list[str]) -> Strings:
    """Spread one word a rulebook over the rows; nothing for rows that were not assessed."""
    places = {word: place for place, word in enumerate(dict.fromkeys(["", *words]))}
    of_book = np.array([places[word] for word in words], dtype=np.int32)
    return Strings(list(places), np.where(valued, of_book[program.regimes.jurisdiction[regime]], 0).astype(np.int32))


def _notes(notes: Int64) -> Ragged:
    told = np.flatnonzero(_NOTE_BITS & np.bitwise_or.reduce(notes))
    row, place = np.nonzero((notes[:, None] & _NOTE_BITS[told]) != 0)
    return Ragged.of_lengths(np.bincount(row, minlength=len(notes)), Strings(_NOTES, told[place].astype(np.int32)))


def _not_covered(assessment: Assessment) -> Ragged:
    """Return for each row the charges that may be owed and are not computed, each once."""
    names = list(dict.fromkeys(each.gap.name for each in assessment.uncovered))
    there = np.zeros((assessment.filings.rows, len(names)), dtype=np.bool_)
    for each in assessment.uncovered:
        there[assessment.filings.item_row[each.items], names.index(each.gap.name)] = True
    row, name = np.nonzero(there & assessment.valued[:, None])
    return Ragged.of_lengths(np.bincount(row, minlength=len(there)), Strings(names, name.astype(np.int32)))


def _charges(assessment: Assessment, account: Strings) -> Table:
    program, lines = assessment.program, assessment.lines
    slots, outcomes = program.slots, program.outcomes
    count = len(lines.row)
    every = np.ones(count, dtype=np.bool_)
    on_item = lines.item >= 0
    numbers = assessment.filings.item_number
    rates = program.rates
    method = rates.method[lines.rate]
    percent = method == METHODS.index("percent")
    several = method == METHODS.index("expression")
    specific = ~percent & ~several
    has_basis = percent | several | (method == METHODS.index("kilogram"))
    rounding = outcomes.rounding_reference[lines.outcome]
    rounded = has_basis & (rounding >= 0)
    quantity, unit = quantities_of(assessment)
    charge = slots.charge[lines.slot].astype(np.int32)
    item_number = numbers[lines.item] if len(numbers) else np.zeros(count, dtype=np.int64)
    jurisdiction = program.regimes.jurisdiction[assessment.regime[lines.row]]
    currencies = [read.rulebook.currency for read in program.books]
    places = {word: place for place, word in enumerate(dict.fromkeys(currencies))}
    of_book = np.array([places[word] for word in currencies] or [0], dtype=np.int32)
    columns: dict[str, Column] = {
        "item_number": Ints(np.where(on_item, item_number, 0), on_item),
        "charge": Strings([facts.id for facts in program.charges], charge),
        "kind": Ints(slots.kind[lines.slot] + 1, every),
        "basis": Ints(np.where(has_basis, lines.basis, 0), has_basis),
        "rate_ppm": Ints(np.where(percent, rates.ppm[lines.rate], 0), percent),
        "specific_minor": Ints(np.where(specific, lines.minor, 0), specific),
        "amount": Ints(lines.amount, every),
        "currency": Strings(list(places), of_book[jurisdiction]),
        "collector": Ints(outcomes.collector[lines.outcome] + 1, every),
        "debtor": Ints(outcomes.debtor[lines.outcome] + 1, every),
        "scheme": Ints(outcomes.scheme[lines.outcome], every),
        "reference": Strings(program.references, rates.reference[lines.rate].astype(np.int32)),
        "collection_reference": Strings(program.references, outcomes.reference[lines.outcome].astype(np.int32)),
        "rounding": Ints(np.where(rounded, outcomes.mode[lines.outcome] + 1, 0), every),
        "rounding_unit": Ints(np.where(rounded, outcomes.unit[lines.outcome], 0), rounded),
        "rounding_reference": Strings(["", *program.references], np.where(rounded, rounding + 1, 0).astype(np.int32)),
        "sentence": Strings(SENTENCES, sentences_of(assessment).astype(np.int32)),
        "rate": Strings(program.rate_texts, rates.text[lines.rate].astype(np.int32)).compact(),
        "quantity": quantity,
        "unit": unit,
        "account": account,
        "unverified": Bools(assessment.unreviewed, every),
    }
    if lines.forgone is not None:
        columns["forgone"] = Ints(lines.forgone, lines.waived)
    return Table(_SCHEMA.children["charges"], count, columns)


def sentences_of(assessment: Assessment, lines: slice = slice(None)) -> Int64:
    """Return for each charge (of the batch's `lines`) the place of its sentence in SENTENCES."""
    rates, rate = assessment.program.rates, assessment.lines.rate[lines]
    method = rates.method[rate]
    sentence: Int64 = _SENTENCE_OF_METHOD[method]
    sentence = sentence + np.where(sentence == 0, rates.by_tariff[rate] * 1 + rates.assumed[rate], 0)
    waived = assessment.lines.waived[lines] * (1 + _is_returned(assessment, lines))
    return sentence + waived * len(_SENTENCES)


def _is_returned(assessment: Assessment, lines: slice) -> Int64:
    """Return 1 for each charge of which returned goods are relieved, else 0."""
    item, slot = assessment.lines.item[lines], assessment.lines.slot[lines]
    named = np.where(item >= 0, assessment.program.slots.relieved_by[slot], 0)
    return assessment.eligibility.come_back(named, item).astype(np.int64)


def quantities_of(assessment: Assessment, select: slice = slice(None)) -> tuple[Ints, Strings]:
    """Return for each selected charge the quantity and the unit that its rate was applied to, if it is per unit."""
    lines, rates = assessment.lines, assessment.program.rates
    rate = lines.rate[select]
    count = len(rate)
    if lines.quantity is None:
        return Ints(np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.bool_)), Strings.constant("", count)
    number, method = rates.expression[rate], rates.method[rate]
    several = method == METHODS.index("expression")
    measure = np.full(count, -1, dtype=np.int64)
    measure[several] = assessment.program.expressions.first_measure[number[several]]
    measure[method == METHODS.index("kilogram")] = int(Measure.NET_MASS)
    units = ["", *(REPORTED[each] for each in Measure)]
    return Ints(np.where(measure >= 0, lines.quantity[select], 0), measure >= 0), Strings(
        units, (measure + 1).astype(np.int32)
    )
