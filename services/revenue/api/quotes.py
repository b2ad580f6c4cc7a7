"""Quotes and rulebooks as messages for people."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from libs.columns import Ints, Table
from luxor.common.v1 import common_pb2
from luxor.consignment.v1.consignment_pb2 import Scheme
from luxor.revenue.v1 import revenue_pb2 as pb
from services.revenue.assessment.aggregates import batch_aggregates, requested_shares
from services.revenue.law.assess.assessment import Assessment, assess, measures_of, prepare
from services.revenue.law.assess.eligibility.scheme_register import Register
from services.revenue.law.assess.review import reviewed_ppm
from services.revenue.law.batch.filings import filings_of
from services.revenue.law.batch.reasons import Note, Reason
from services.revenue.law.program.program import COLLECTORS, Program
from services.revenue.law.program.value_counts import counts_of
from services.revenue.law.source.rates import METHODS
from services.revenue.law.source.rulebook import Reference, Rulebook
from services.revenue.law.text.explanation import explain, uncovered_of

_SECRET = bytes(16)
"""Stands for the deployment's secret, of which nothing is kept here."""
_COUNTED = (
    "A limit counts several consignments together, of a person, an order or a craft: only those of this question were counted, "
    "as if nothing else came."
)


@dataclass(frozen=True, slots=True)
class QuotedBatch:
    """Consignments that nobody filed yet, assessed."""

    assessment: Assessment
    summed: frozenset[int]
    """Rows that are tested on a sum over several consignments."""


def quote_batch(
    program: Program, register: Register, table: Table, acceptance: Ints, *, summed: bool = True
) -> QuotedBatch:
    """Assess consignments that nobody filed yet (a table of ConsignmentColumns), as if they came together and nothing else did.

    `acceptance` is the time of acceptance to assume, microseconds since 1970. Unless they are `summed`, each is assessed as if it came by itself.
    """
    table = table.with_columns({"accepted_at": acceptance})
    filings = filings_of(table)
    prepared = prepare(program, filings, register)
    measures = measures_of(program, prepared)
    if not len(measures.row):
        return QuotedBatch(assess(program, filings, None, register, prepared), frozenset())
    shares = requested_shares(program, table, measures, _SECRET)
    others = batch_aggregates(shares, table.rows) if summed else shares.unshared()
    done = assess(program, filings, others.by_limit(program, table.rows), register, prepared)
    return QuotedBatch(done, frozenset(others.row[others.named].tolist()))


def landed_costs(assessment: Assessment, summed: Collection[int] = ()) -> Iterator[pb.LandedCost]:
    """Yield the quote of each row: its landed cost, an explanation of each charge, and the assumptions.

    `summed` are the rows that are tested on a sum over several consignments.
    """
    for row in range(assessment.filings.rows):
        told = _landed_cost(assessment, row)
        if row in summed and not told.reason:
            told.assumptions.append(_COUNTED)
        yield told


def references_of(assessment: Assessment, quotes: Iterable[pb.LandedCost]) -> list[pb.LegalReference]:
    """Return the references that quotes name, each once: those of the charges in the order of the program, then those of limits
    and reliefs.
    """
    program, lines = assessment.program, assessment.lines
    used = set(program.rates.reference[lines.rate].tolist()) | set(program.outcomes.reference[lines.outcome].tolist())
    used |= set(program.outcomes.rounding_reference[lines.outcome].tolist()) - {-1}
    names = [program.references[place] for place in sorted(used)]
    names += [name for quote in quotes for name in quote.references]
    return [_reference(name, program.legal[name]) for name in dict.fromkeys(names)]


def review_of(quotes: Iterable[pb.LandedCost], references: Collection[pb.LegalReference]) -> pb.LawReview:
    """Return how much of the law behind quotes was reviewed."""
    review = pb.LawReview(references=len(references), reviewed_references=sum(each.verified for each in references))
    amounts: dict[str, pb.ReviewedAmount] = {}
    for quote in quotes:
        if quote.reason:
            continue
        amount = amounts.setdefault(quote.currency, pb.ReviewedAmount(currency=quote.currency))
        amount.charged_minor += quote.duty_minor + quote.tax_minor + quote.fee_minor
        amount.reviewed_minor += quote.reviewed_minor
        review.charges += len(quote.lines)
        review.reviewed_charges += sum(not line.unverified for line in quote.lines)
    for amount in amounts.values():
        if (ppm := reviewed_ppm(amount.charged_minor, amount.reviewed_minor)) is not None:
            amount.reviewed_ppm = ppm
        review.amounts.append(amount)
    return review


def rulebooks_of(program: Program) -> list[pb.Rulebook]:
    """Return all loaded rulebooks as messages."""
    told = []
    for read in sorted(program.books, key=lambda read: read.rulebook.jurisdiction):
        book = read.rulebook
        counts = counts_of(program, read)
        message = pb.Rulebook(
            jurisdiction=book.jurisdiction,
            name=book.name,
            version=read.version,
            from_day=book.period.start.isoformat(),
            to_day=book.period.to.isoformat() if book.period.to else "",
            areas=book.areas,
            currency=book.currency,
            references=_references(program, book),
            charges=[charge.name for charge in book.charges],
            values=counts.values,
            unverified_values=counts.unverified_values,
            tariff_lines=counts.tariff_lines,
            unverified_tariff_lines=counts.unverified_tariff_lines,
        )
        told.append(message)
    return told


def _references(program: Program, book: Rulebook) -> list[pb.LegalReference]:
    """Return the references of a rulebook, then those of the tariffs that it applies."""
    own = {f"{book.jurisdiction}:{key}": each for key, each in book.references.items()}
    of_tariffs = {name: each for name, each in program.legal.items() if name.startswith(f"{book.jurisdiction}:")}
    return [_reference(name, each) for name, each in (own | of_tariffs).items()]


def _landed_cost(assessment: Assessment, row: int) -> pb.LandedCost:
    told = explain(assessment, row)
    reason = Reason(int(assessment.reason[row]))
    if reason is not Reason.NONE:
        return pb.LandedCost(reason=reason.name, explanation=told.results)
    program = assessment.program
    book = program.books[int(program.regimes.jurisdiction[assessment.regime[row]])]
    duty, tax, fee = (int(total[row]) for total in assessment.by_kind)
    price = int(assessment.price[row])
    vendor = int(assessment.by_collector[COLLECTORS.index("vendor")][row])
    spans = range(*assessment.offsets[row : row + 2].tolist())
    uncovered = uncovered_of(assessment, row)
    return pb.LandedCost(
        currency=book.rulebook.currency,
        intrinsic_value_minor=int(assessment.intrinsic[row]),
        customs_value_minor=int(assessment.customs_value[row]),
        price_minor=price,
        duty_minor=duty,
        tax_minor=tax,
        fee_minor=fee,
        landed_cost_minor=price + duty + tax + fee,
        vendor_collected_minor=vendor,
        payable_minor=duty + tax + fee - vendor,
        rulebook_version=book.version,
        lines=[_line(assessment, at, sentence) for at, sentence in zip(spans, told.lines, strict=True)],
        explanation=told.results,
        assumptions=told.assumed,
        notes=note_names(int(assessment.notes[row])),
        references=told.references,
        reviewed_minor=int(assessment.reviewed[row]),
        lower_bound=bool(uncovered),
        not_covered=uncovered,
    )


def note_names(bits: int) -> Iterable[str]:
    """Return the names of the notes whose bits are set, in their order."""
    return [note.name or "" for note in Note if bits & note]


def _line(assessment: Assessment, at: int, sentence: str) -> pb.QuoteLine:
    program, lines = assessment.program, assessment.lines
    slot, outcome, item = int(lines.slot[at]), int(lines.outcome[at]), int(lines.item[at])
    slots, outcomes, rate = program.slots, program.outcomes, int(lines.rate[at])
    line = pb.QuoteLine(
        charge=program.charges[int(slots.charge[slot])].id,
        kind=common_pb2.ChargeKind.ValueType(int(slots.kind[slot]) + 1),
        amount_minor=int(lines.amount[at]),
        collector=common_pb2.Collector.ValueType(int(outcomes.collector[outcome]) + 1),
        debtor=common_pb2.Debtor.ValueType(int(outcomes.debtor[outcome]) + 1),
        reference=program.references[int(program.rates.reference[rate])],
        sentence=sentence,
        scheme=Scheme.ValueType(int(outcomes.scheme[outcome])),
        rate=program.rate_texts[int(program.rates.text[rate])],
        unverified=bool(assessment.unreviewed[at]),
    )
    if lines.waived[at] and lines.forgone is not None:
        line.forgone_minor = int(lines.forgone[at])
    if item >= 0:
        line.item_number = int(assessment.filings.item_number[item])
    if METHODS[int(program.rates.method[rate])] == "percent":
        line.basis, line.rate_ppm = int(lines.basis[at]), int(program.rates.ppm[rate])
    return line


def _reference(name: str, reference: Reference) -> pb.LegalReference:
    return pb.LegalReference(
        id=name,
        law=reference.law,
        article=reference.article,
        address=reference.address,
        verified=reference.verified,
        note=reference.note,
    )
