"""Assessments as the columns of luxor.revenue.v1.AssessmentColumns."""

import numpy as np

from libs.columns import Column, Ints, Ragged, Strings, Table, schema_of
from luxor.revenue.v1.revenue_pb2 import AssessmentColumns
from services.revenue.law.accounts import EVERYONE, Securities, accounts_of
from services.revenue.law.arithmetic import Flags, Int64
from services.revenue.law.assess import Assessment
from services.revenue.law.problems import Note, Problem
from services.revenue.law.program import COLLECTORS, Program
from services.revenue.law.rulebook import METHODS

_SCHEMA = schema_of(AssessmentColumns)
_REASONS = ["", *(problem.name for problem in Problem if problem is not Problem.NONE)]
_NOTES = [note.name or "" for note in Note]
_NOTE_BITS = np.array([note.value for note in Note], dtype=np.int64)
_SENTENCE_OF_METHOD = {
    "percent": "percent",
    "tariff": "percent_by_tariff",
    "tariff_line": "per_tariff_line",
    "item": "per_item",
    "consignment": "per_consignment",
    "kilogram": "per_kilogram",
}
_PLAIN = [_SENTENCE_OF_METHOD[method] for method in METHODS]
SENTENCES = [*_PLAIN, "percent_by_default", *(f"{name}_waived" for name in [*_PLAIN, "percent_by_default"])]
"""Ids of the sentences that explain a charge."""


def answer_of(assessment: Assessment, declarant: Strings, filer: Strings, securities: Securities = EVERYONE) -> Table:
    """Give a batch's assessment as a table of AssessmentColumns; accounts are the declarant's, else the filer's."""
    accounts = accounts_of(assessment, declarant, filer, securities)
    valued = assessment.valued
    program = assessment.program
    by_collector = dict(zip(COLLECTORS, assessment.by_collector, strict=True))
    columns: dict[str, Column] = {
        "reason": Strings(_REASONS, assessment.problem.astype(np.int32)),
        "currency": _of_books(program, assessment.regime, valued, [read.rulebook.currency for read in program.books]),
        "intrinsic_value": Ints(assessment.intrinsic, valued),
        "customs_value": Ints(assessment.customs_value, valued),
        "duty": Ints(assessment.by_kind[0], valued),
        "tax": Ints(assessment.by_kind[1], valued),
        "fee": Ints(assessment.by_kind[2], valued),
        "collected_by_customs": Ints(by_collector["customs"], valued),
        "collected_by_vendor": Ints(by_collector["vendor"], valued),
        "collected_by_carrier": Ints(by_collector["carrier"], valued),
        "collected_by_postal_operator": Ints(by_collector["postal_operator"], valued),
        "deferred_account": accounts.rows,
        "rulebook_version": _of_books(program, assessment.regime, valued, [read.version for read in program.books]),
        "exchange_day": Ints(np.where(valued, assessment.exchange_day, 0), valued),
        "notes": _notes(assessment.notes),
        "charges": Ragged(assessment.offsets, _charges(assessment).with_columns({"account": accounts.charges})),
        "generation": Ints(np.zeros(assessment.filings.rows, dtype=np.int64), valued),
    }
    return Table(_SCHEMA, assessment.filings.rows, columns)


def _of_books(program: Program, regime: Int64, valued: Flags, words: list[str]) -> Strings:
    """Spread one word a rulebook over the rows; nothing for rows that were not assessed."""
    places = {word: place for place, word in enumerate(dict.fromkeys(["", *words]))}
    of_book = np.array([places[word] for word in words], dtype=np.int32)
    return Strings(list(places), np.where(valued, of_book[program.regimes.jurisdiction[regime]], 0).astype(np.int32))


def _notes(notes: Int64) -> Ragged:
    there = (notes[:, None] & _NOTE_BITS) != 0
    return Ragged.of_lengths(there.sum(axis=1), Strings(_NOTES, np.nonzero(there)[1].astype(np.int32)))


def _charges(assessment: Assessment) -> Table:
    program, lines = assessment.program, assessment.lines
    slots, outcomes = program.slots, program.outcomes
    count = len(lines.row)
    every = np.ones(count, dtype=np.bool_)
    on_item = lines.item >= 0
    numbers = assessment.filings.item_number
    method = slots.method[lines.slot]
    percent = method <= METHODS.index("tariff")
    has_basis = percent | (method == METHODS.index("kilogram"))
    rounding = outcomes.rounding_reference[lines.outcome]
    rounded = has_basis & (rounding >= 0)
    sentence = np.where(lines.default_rate, len(METHODS), method) + np.where(lines.waived, len(METHODS) + 1, 0)
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
        "rate_ppm": Ints(np.where(percent, lines.ppm, 0), percent),
        "specific_minor": Ints(np.where(percent, 0, lines.minor), ~percent),
        "amount": Ints(lines.amount, every),
        "currency": Strings(list(places), of_book[jurisdiction]),
        "collector": Ints(outcomes.collector[lines.outcome] + 1, every),
        "debtor": Ints(outcomes.debtor[lines.outcome] + 1, every),
        "scheme": Ints(outcomes.scheme[lines.outcome], every),
        "reference": Strings(program.references, slots.reference[lines.slot].astype(np.int32)),
        "collection_reference": Strings(program.references, outcomes.reference[lines.outcome].astype(np.int32)),
        "rounding": Ints(np.where(rounded, outcomes.mode[lines.outcome] + 1, 0), every),
        "rounding_unit": Ints(np.where(rounded, outcomes.unit[lines.outcome], 0), rounded),
        "rounding_reference": Strings(["", *program.references], np.where(rounded, rounding + 1, 0).astype(np.int32)),
        "sentence": Strings(SENTENCES, sentence.astype(np.int32)),
    }
    return Table(_SCHEMA.children["charges"], count, columns)
