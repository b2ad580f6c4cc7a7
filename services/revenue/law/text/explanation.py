"""Explanation: an assessment in sentences that a buyer, a filer or an officer understands."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np

from libs.customs.money import money_text
from libs.customs.time import day_text
from services.revenue.law.assess.assessment import Assessment
from services.revenue.law.batch.arithmetic import Flags
from services.revenue.law.batch.reasons import Note, Reason
from services.revenue.law.batch.units import MASSES, REPORTED
from services.revenue.law.program.beneficiaries import KINDS
from services.revenue.law.program.program import COLLECTORS, DEBTORS, EVERYTHING, SCHEMES, TESTS
from services.revenue.law.source.rates import percent_text
from services.revenue.law.source.rulebook import COMPONENTS, PPM, Test
from services.revenue.law.text.assessment_columns import SENTENCES, quantities_of, sentences_of

_CHARGE = {
    "percent": "{who}: {name} of {rate} on {basis}{steps} {equals} {amount}",
    "percent_by_tariff": "{who}: {name} of {rate} on {basis}, by the tariff's rate for the commodity code{steps}, {equals} {amount}",
    "percent_by_default": "{who}: {name} of {rate} on {basis}, the rate assumed because the loaded tariff has none"
    "{steps}, {equals} {amount}",
    "per_tariff_line": "{who}: {name} of {specific}, once for each tariff classification in the consignment{steps}, {equals} {amount}",
    "per_item": "{who}: {name} of {specific} per item{steps} {equals} {amount}",
    "per_consignment": "{who}: {name} of {specific} per consignment{steps} {equals} {amount}",
    "per_kilogram": "{who}: {name} of {specific} per kilogram on {mass} kg{steps} {equals} {amount}",
    "by_expression": "{who}: {name} of {rate} on {measured}{steps} {equals} {amount}",
}
_BY_MILLIGRAMS = frozenset(REPORTED[measure] for measure in MASSES)
_NOT_LEVIED = {"waived": " (not levied: the sum is too small)", "returned": " (not levied: the goods come back)"}
_COLLECTED = {
    "customs": "owed by the {debtor} to customs",
    "vendor": "collected by the seller or platform at the sale",
    "carrier": "collected by the carrier from the {debtor}",
    "postal_operator": "collected by the postal operator from the {debtor}",
}
_OWED = "owed by the {debtor} itself, to customs"
_RESULTS = {
    Note.SCHEME_NUMBER_MISSING: "A scheme is named without its number, so the scheme was not applied.",
    Note.SCHEME_NUMBER_MALFORMED: "The scheme's number does not have the form of the scheme's numbers, so the scheme was not "
    "applied.",
    Note.SCHEME_NOT_OPEN: "The named scheme does not cover this consignment, so it was not applied.",
    Note.TAX_TAKEN_OUT: "The prices include the tax charged at the sale; it was taken out before the value was tested.",
    Note.BELOW_MINIMUM: "Amounts below the minimum of the law were waived.",
    Note.PREFERENCE_NOT_APPLIED: "A preference is claimed, but no preferential rate is loaded for the goods, or the "
    "scheme allows none: the ordinary rate was used.",
    Note.SCHEME_NUMBER_UNKNOWN: "The scheme's number is not in the register, so the scheme was not applied.",
    Note.SCHEME_NUMBER_EXPIRED: "The scheme's number is registered, but not for the day of the law, so the scheme "
    "was not applied.",
    Note.EXCLUDED_GOODS: "Goods of a kind that a limit excludes are in the consignment.",
    Note.SUMMED: "Other consignments count towards a limit together with this one.",
    Note.ACCOUNT_NOT_ALLOWED: "A deferred account or guarantee that the filing names was not used: the filer may not draw on "
    "it.",
    Note.RETURN_NOT_PROVEN: "The return cites no MRN that proves that the goods left: it was charged. An MRN of the export proves it, "
    "or one of the import into the country from which they come back.",
    Note.RETURN_TERM_UNKNOWN: "The cited MRN does not state the day of the export, and the term for returned goods may have ended: "
    "the return was charged. Before the presentation, an amendment may cite an MRN that states the day.",
    Note.RETURN_TERM_ENDED: "The goods come back after the term for returned goods: the return was charged.",
    Note.RETURN_NOT_CLAIMED: "A relief of returned goods depends on more than the cited MRN, such as an additional procedure, and "
    "was not applied.",
}
_ASSUMED = {
    Note.FREIGHT_NOT_DECLARED: "No freight declared: it is assumed to be included in the price.",
    Note.INSURANCE_NOT_DECLARED: "No insurance declared: it is assumed to be included in the price.",
    Note.CODE_MISSING: "An item over the limit has no commodity code: the tariff's default rate was assumed.",
    Note.DEFAULT_DUTY_RATE: "The loaded tariff has no rate for a commodity code: its default was assumed.",
    Note.DATE_NOT_DECLARED: "The date that the law names is not declared: the day of acceptance was used.",
    Note.SCHEME_NUMBER_UNCHECKED: "No register of the scheme is loaded: only the form of its number was checked.",
    Note.PERSON_NOT_DECLARED: "A limit counts all goods of one person, order, craft or split shipment, and the filing does not name it: "
    "the consignment was counted alone.",
    Note.UNIT_ASSUMED: "A rate is per unit, and an item declares another unit: the declared quantity was used.",
    Note.REGION_NOT_RECOGNISED: "Charges depend on the region, and no rule names the declared one: the rule for all other "
    "regions was used.",
    Note.RETURN_NOT_COVERED: "The loaded law has no relief of returned goods from a charge: it was computed as for other goods, and "
    "may be too high.",
}
_TESTED_ON: dict[Test, str] = {
    "consignment": "a consignment",
    "item": "an item",
    "order": "an order",
    "person_year": "a person in a year",
    "person_day": "a person in a day",
    "recipient_day": "all parcels from one carrier to one recipient in a day",
    "importer_craft": "all goods of one importer on one craft",
}
_REASON = {
    Reason.NO_RULEBOOK: "No law is loaded for this destination and day.",
    Reason.UNVALUED: "An item has no price with a currency, or the consignment has no items.",
    Reason.NO_EXCHANGE_RATE: "No exchange rate is loaded for a currency and the day of the law.",
    Reason.AMOUNT_OUT_OF_BOUNDS: "An amount is negative, or larger than the largest that can be assessed.",
    Reason.MASS_MISSING: "A charge is by weight, and the consignment has no gross mass.",
    Reason.NO_DUTY_RATE: "The tariff names no rate for an item's commodity code, origin and preference.",
    Reason.EXPORT: "The goods are declared for export: no charges of an import are owed.",
    Reason.QUANTITY_MISSING: "A charge is per unit, and an item declares no quantity in that unit.",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """One consignment's assessment in sentences."""

    lines: list[str]
    """One sentence a charge, in the order of the charges."""
    results: list[str]
    """The results about value, limit and scheme; the reason if the consignment could not be assessed."""
    assumed: list[str]
    """What was assumed or is not verified."""
    references: list[str]
    """Ids of the references of limits, reliefs, statutory defaults and shares of revenue, each once."""


def explain(assessment: Assessment, row: int) -> Explanation:
    """Explain one row of an assessment in English."""
    reason = Reason(int(assessment.reason[row]))
    if reason is not Reason.NONE:
        return Explanation([], [_REASON[reason]], [], [])
    program = assessment.program
    book = program.books[int(program.regimes.jurisdiction[assessment.regime[row]])].rulebook
    currency = book.currency
    notes = Note(int(assessment.notes[row]))
    found = [f"The goods are worth {money_text(int(assessment.intrinsic[row]), currency)} without transport and tax."]
    limits = _limit_sentences(assessment, row, book.name, currency)
    eligibility = assessment.eligibility
    gifts = _relief_references(assessment, row, eligibility.relieved) if notes & Note.GIFT_RELIEVED else {}
    returned = _relief_references(assessment, row, eligibility.returned) if notes & Note.RETURN_RELIEVED else {}
    found += [f"{sentence} ({', '.join(references)})." for sentence, references in limits.items()]
    found += _exchange_sentences(assessment, row)
    found += [sentence for note, sentence in _RESULTS.items() if notes & note]
    found += [f"Items are relieved, up to the amount that the law relieves ({reference})." for reference in gifts]
    found += [f"Goods that come back are relieved ({reference})." for reference in returned]
    assumed = [sentence for note, sentence in _ASSUMED.items() if notes & note]
    added = _default_sentences(assessment, row, currency)
    assumed += [f"{sentence} ({reference})." for sentence, reference in added]
    uncovered = uncovered_of(assessment, row) if notes & Note.NOT_COVERED else []
    assumed += [f"Not covered by the loaded law: {each}." for each in uncovered]
    lines = [_line(assessment, at, currency) for at in range(*assessment.offsets[row : row + 2].tolist())]
    shared = _shared(assessment, row, book.jurisdiction)
    found += [f"{sentence} ({reference})." for sentence, reference in shared]
    named = (reference for _, reference in (*added, *shared))
    references = dict.fromkeys([*chain(*limits.values()), *gifts, *returned, *named])
    return Explanation(lines, found, assumed, list(references))


def _default_sentences(assessment: Assessment, row: int, currency: str) -> list[tuple[str, str]]:
    """Return what the law adds for costs that the filing does not declare; each sentence with the id of its reference."""
    found = []
    for component, defaults in assessment.defaults.items():
        if defaults.entry[row] >= 0:
            facts = assessment.program.defaults[int(defaults.entry[row])]
            parts = [name for at, name in enumerate(COMPONENTS) if facts.basis >> at & 1]
            found.append(
                (
                    f"No {COMPONENTS[component]} declared: the law's {percent_text(facts.ppm)} of {' and '.join(parts)} "
                    f"was added to the value, {money_text(int(defaults.amount[row]), currency)}",
                    facts.reference,
                )
            )
    return found


def _shared(assessment: Assessment, row: int, jurisdiction: str) -> list[tuple[str, str]]:
    """Return the beneficiaries of the charges of a row, if several treasuries share one; each sentence with the id of its reference."""
    program, lines = assessment.program, slice(*assessment.offsets[row : row + 2].tolist())
    slots = assessment.lines.slot[lines][assessment.lines.amount[lines] > 0]
    told = []
    for kind in sorted(set((program.slots.kind[slots] + 1).tolist())):
        day, destination = int(assessment.law_day[row]), assessment.filings.destination[row] or ""
        division = program.sharing.division(jurisdiction, kind, destination, day)
        *shares, rest = division.shares
        if shares:
            parts = "".join(f"{percent_text(each.ppm)} to {each.beneficiary}, " for each in shares)
            told.append(
                (
                    f"Revenue of {KINDS[kind]}: {parts}the rest to {rest.beneficiary}",
                    f"{jurisdiction}:{division.reference}",
                )
            )
    return told


def _limit_sentences(assessment: Assessment, row: int, book: str, currency: str) -> dict[str, list[str]]:
    """Return a sentence about each tested limit: whether the consignment is within it. Each sentence, without its full stop, has
    the ids of its references.

    The limits are the first one of the rulebook, those that the charges tested, and those because of which a charge is not
    levied.
    """
    program, lines = assessment.program, slice(*assessment.offsets[row : row + 2].tolist())
    slots, slot, outcome = program.slots, assessment.lines.slot[lines], assessment.lines.outcome[lines]
    looked_at = {
        0,
        *slots.limit[slot].tolist(),
        *slots.over_only[slot].tolist(),
        *program.outcomes.limit[outcome].tolist(),
    }
    more = int(np.bitwise_or.reduce(slots.more_within[slot] | slots.more_over[slot], initial=0))
    looked_at |= {limit for limit in range(more.bit_length()) if more >> limit & 1}
    looked_at |= _limits_that_exclude_charges(assessment, row)
    known = [limit for limit in sorted(looked_at - {-1}) if assessment.eligibility.limits[limit].has_amount[row]]
    told: dict[str, list[str]] = {}
    for limit in known:
        entry = int(assessment.eligibility.limits[limit].entry[row])
        reference = program.limit_references[int(program.limits.reference[entry])]
        references = told.setdefault(_limit_sentence(assessment, row, limit, book, currency), [])
        references += [reference] if reference not in references else []
    return told


def _limits_that_exclude_charges(assessment: Assessment, row: int) -> set[int]:
    """Return the limits that the consignment is within and that some charge of its law must exceed: that charge has no line."""
    program, slots = assessment.program, assessment.program.slots
    within = assessment.eligibility.row_within[row]
    first = int(assessment.regime[row]) * program.slots_per_regime
    here = np.arange(first, first + program.slots_per_regime)[slots.exists[first : first + program.slots_per_regime]]
    limits = set(slots.limit[here[slots.over[here]]].tolist())
    more = int(np.bitwise_or.reduce(slots.more_over[here], initial=0))
    return {limit for limit in range(len(within)) if within[limit] and (limit in limits or more >> limit & 1)}


def _limit_sentence(assessment: Assessment, row: int, limit: int, book: str, currency: str) -> str:
    test = assessment.eligibility.limits[limit]
    entry = int(test.entry[row])
    tested = TESTS[int(assessment.program.limits.test[entry])]
    within = assessment.eligibility.row_within[row, limit]
    if assessment.program.limits.minor[entry] == EVERYTHING:
        goods = "Whatever it is worth, it comes under" if within else "Goods in the consignment are excluded from"
        return f"{goods} a rule of its own in {_in_sentences(book)}"
    amount = _limit_amount(assessment, entry, currency)
    said = f"the limit of {amount} for {_TESTED_ON[tested]} in {_in_sentences(book)}"
    items = slice(*assessment.filings.offsets[row : row + 2].tolist())
    if within:
        return f"That is within {said}"
    if test.excluded is not None and test.excluded[items].any():
        return f"Goods in the consignment are excluded from {said}"
    return f"That is over {said}"


def _relief_references(assessment: Assessment, row: int, reliefs: Mapping[int, Flags]) -> dict[str, None]:
    """Return the references of those reliefs that relieve any item of the consignment, each once."""
    program, eligibility = assessment.program, assessment.eligibility
    items = slice(*assessment.filings.offsets[row : row + 2].tolist())
    entries = [eligibility.relief_entries[place][row] for place, relieved in reliefs.items() if relieved[items].any()]
    return dict.fromkeys(program.limit_references[int(program.reliefs.reference[entry])] for entry in entries)


def _limit_amount(assessment: Assessment, entry: int, currency: str) -> str:
    program = assessment.program
    if program.limits.currency[entry] >= 0:
        currency = program.exchange.code(int(program.limits.currency[entry]))
    return money_text(int(program.limits.minor[entry]), currency)


def _in_sentences(name: str) -> str:
    return f"the {name}" if name.split()[-1] in ("Union", "Kingdom", "States") else name


def uncovered_of(assessment: Assessment, row: int) -> list[str]:
    """Return the charges that may be owed and are not computed, and on which goods. Example: "excise duty on 22030001"."""
    code = assessment.filings.code
    first, last = assessment.filings.offsets[row : row + 2].tolist()
    told: dict[str, set[int]] = {}
    for each in assessment.uncovered:
        places = np.flatnonzero(each.items[first:last]) + first
        if len(places):
            told.setdefault(each.gap.name, set()).update(places.tolist())
    codes = {what: dict.fromkeys(code[at] for at in sorted(places)) for what, places in told.items()}
    return [_on_goods(what, [each for each in of_goods if each]) for what, of_goods in codes.items()]


def _on_goods(subject: str, codes: list[str]) -> str:
    return f"{subject} on {', '.join(codes)}" if codes else subject


def _exchange_sentences(assessment: Assessment, row: int) -> list[str]:
    program, filings = assessment.program, assessment.filings
    regime, day = int(assessment.regime[row]), int(assessment.exchange_day[row])
    table = program.exchange.tables[int(program.regimes.exchange_table[regime])]
    used = {filings.price_currency[at] for at in range(*filings.offsets[row : row + 2].tolist())}
    for column, amounts in (
        (filings.freight_currency, filings.freight),
        (filings.insurance_currency, filings.insurance),
        (filings.clearance_fee_currency, filings.clearance_fee),
    ):
        if amounts.values[row]:
            used.add(column[row])
    told = []
    for rate in program.exchange.rates:
        if rate.table == table and rate.currency in used and rate.start <= day <= rate.end and rate.reference:
            doubt = "" if rate.verified else ", an unverified example rate"
            told.append(f"Converted at {rate.quoted} of {day_text(day)}{doubt}.")
    return told


def _line(assessment: Assessment, at: int, currency: str) -> str:
    program, lines = assessment.program, assessment.lines
    slot, outcome, item = int(lines.slot[at]), int(lines.outcome[at]), int(lines.item[at])
    rate = int(lines.rate[at])
    sentence = SENTENCES[int(sentences_of(assessment, slice(at, at + 1))[0])]
    plain, _, ending = sentence.rpartition("_")
    plain = plain if ending in _NOT_LEVIED else sentence
    who = "Consignment" if item < 0 else f"Item {int(assessment.filings.item_number[item])}"
    basis = int(lines.basis[at])
    levied, verb = int(lines.amount[at]), "="
    if lines.waived[at] and lines.forgone is not None:
        levied, verb = int(lines.forgone[at]), "would be"
    text = _CHARGE[plain].format(
        equals=verb,
        who=who,
        name=program.charges[int(program.slots.charge[slot])].name,
        rate=program.rate_texts[int(program.rates.text[rate])],
        measured=_measured(assessment, at),
        basis=money_text(basis, currency),
        specific=money_text(int(lines.minor[at]), currency),
        mass=f"{basis // 1_000_000}.{basis % 1_000_000:06d}".rstrip("0").rstrip("."),
        steps="".join(f", {step}" for step in _steps(assessment, at, currency)),
        amount=money_text(levied, currency),
    )
    if lines.waived[at]:
        text += _NOT_LEVIED[ending]
    collector = COLLECTORS[int(program.outcomes.collector[outcome])]
    debtor = DEBTORS[int(program.outcomes.debtor[outcome])]
    text += ", " + (_OWED if collector == debtor != "vendor" else _COLLECTED[collector]).format(debtor=debtor)
    scheme = SCHEMES[int(program.outcomes.scheme[outcome])]
    if scheme != "none" and collector != "customs":
        book = program.books[int(program.regimes.jurisdiction[assessment.regime[lines.row[at]]])].rulebook
        text += f' under the scheme "{book.schemes[scheme].name}"'
    return text + "."


def _steps(assessment: Assessment, at: int, currency: str) -> list[str]:
    """Return the steps between a rate on a base and the amount, so that the arithmetic of the sentence is complete."""
    program, lines = assessment.program, assessment.lines
    slot, outcome, rate = int(lines.slot[at]), int(lines.outcome[at]), int(lines.rate[at])
    slots, outcomes, rates = program.slots, program.outcomes, program.rates
    steps = []
    limit = int(slots.over_only[slot])
    if limit >= 0 and assessment.eligibility.limits[limit].has_amount[lines.row[at]]:
        entry = int(assessment.eligibility.limits[limit].entry[lines.row[at]])
        steps.append(f"the value above {_limit_amount(assessment, entry, currency)}")
    unit = max(int(outcomes.base_unit[outcome]), int(outcomes.sum_unit[outcome]))
    if unit > 1 and lines.basis[at]:
        whose = "the base of all items at this rate" if outcomes.sum_unit[outcome] > 1 else "the base"
        steps.append(f"{whose} rounded to {money_text(unit, currency)}")
    part, whole = int(slots.share_numerator[slot]), int(slots.share_denominator[slot])
    if part != whole:
        steps.append(f"{percent_text(part * PPM // whole)} of it")
    if less := int(rates.less[rate]):
        foreign = int(rates.less_currency[rate])
        of_law = program.exchange.code(foreign) if foreign >= 0 else currency
        steps.append(f"less {money_text(less, of_law)} for the consignment")
    if (unit := int(outcomes.total_unit[outcome])) > 1:
        steps.append(f"the consignment's sum rounded to {money_text(unit, currency)}")
    return steps


def _measured(assessment: Assessment, at: int) -> str:
    """Return what a rate of several parts was applied to: a value, a quantity or both."""
    quantities, units = quantities_of(assessment, slice(at, at + 1))
    book = assessment.program.books[
        int(assessment.program.regimes.jurisdiction[assessment.regime[assessment.lines.row[at]]])
    ]
    told = []
    if basis := int(assessment.lines.basis[at]):
        told.append(money_text(basis, book.rulebook.currency))
    if quantities.valid[0]:
        unit = units[0]
        parts = 1_000_000 if unit in _BY_MILLIGRAMS else 1000
        whole, rest = divmod(int(quantities.values[0]), parts)
        digits = f"{rest:0{len(str(parts)) - 1}d}".rstrip("0")
        amount = f"{whole}.{digits}" if digits else str(whole)
        told.append(f"{amount} {unit}{'s' if unit in ('piece', 'pair') and amount != '1' else ''}")
    return " and ".join(told) or money_text(0, book.rulebook.currency)
