"""Turns the oracle's consignments into a batch as it arrives: messages, then columns."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from libs.columns import Ints, Table
from libs.customs.time import MICROS_PER_DAY, day_of_date
from luxor.consignment.v1 import consignment_columns_pb2, consignment_pb2
from services.revenue.law.assess.assessment import Assessment, assess
from services.revenue.law.assess.eligibility.limits import LimitAggregates
from services.revenue.law.assess.eligibility.scheme_register import Register
from services.revenue.law.batch.filings import Filings, filings_of
from services.revenue.law.batch.reasons import Note, Reason
from services.revenue.law.program.program import COLLECTORS, DEBTORS, SCHEMES, Program
from tests.revenue.law.oracle_charges import SCHEME_NAMES, Charged, Consignment, Result

NOTES = [(int(note), str(note.name)) for note in Note]


def message_of(filed: Consignment) -> consignment_pb2.Consignment:
    """Write a consignment as a filer would."""
    message = consignment_pb2.Consignment(destination_country=filed.destination)
    for day, moment in (
        (filed.sold, message.order.time),
        (filed.exported, message.export_time),
        (filed.shipped, message.direct_shipment_time),
    ):
        if day:
            moment.CopyFrom(_noon(day))
    for name in ("freight", "insurance", "clearance_fee"):
        money = getattr(filed, name)
        if money is not None:
            getattr(message, name).CopyFrom(consignment_pb2.Money(minor=money[0], currency=money[1]))
    if filed.includes_tax is not None:
        message.prices_include_tax = filed.includes_tax
    if filed.mass_mg is not None:
        message.gross_mass_mg = filed.mass_mg
    message.dispatch_country, message.direct_shipment_place = filed.dispatch, filed.direct_shipment_place
    message.transport.mode = consignment_pb2.TransportMode.Value(
        f"TRANSPORT_MODE_{filed.mode.upper() or 'UNSPECIFIED'}"
    )
    message.transport.service = consignment_pb2.TransportService.Value(
        f"TRANSPORT_SERVICE_{filed.service.upper() or 'UNSPECIFIED'}"
    )
    message.declarant_role = consignment_pb2.DeclarantRole.Value(
        f"DECLARANT_ROLE_{filed.declarant_role.upper() or 'UNSPECIFIED'}"
    )
    message.nature = consignment_pb2.Nature.Value(f"NATURE_{filed.nature.upper() or 'UNSPECIFIED'}")
    for party, person in (("consignor", filed.consignor), ("consignee", filed.consignee)):
        if person:
            getattr(message, party).person_type = consignment_pb2.PersonType.Value(f"PERSON_TYPE_{person.upper()}")
    if filed.region:
        message.consignee.address.region = filed.region
    message.additional_procedures.extend(filed.procedures)
    message.returned_mrn = filed.first_mrn
    for scheme, number in filed.schemes:
        message.fiscal_references.add(scheme=SCHEME_NAMES.index(scheme), number=number)
    for item in filed.items:
        goods = message.items.add(
            commodity_code=item.code,
            preference=item.preference,
            origin_country=item.origin,
            gift=item.gift,
            net_mass_mg=item.net_mass_mg,
            quantity_milli=item.quantity_milli,
            quantity_unit=item.unit,
            supplementary_quantity_milli=item.supplementary_milli,
            supplementary_unit=item.supplementary_unit,
            additional_procedures=item.procedures,
        )
        if item.price is not None:
            goods.price.CopyFrom(consignment_pb2.Money(minor=item.price, currency=item.currency))
        if item.tax_charged is not None:
            goods.tax_charged.CopyFrom(consignment_pb2.Money(minor=item.tax_charged, currency=item.currency))
        if item.tax_rate_ppm is not None:
            goods.tax_rate_ppm = item.tax_rate_ppm
    return message


def _noon(day: date) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
    return stamp


def filings(batch: Sequence[Consignment]) -> Filings:
    """Write a batch and read it as revenue does; accepted at noon of the day."""
    table = Table.from_messages(
        [message_of(filed) for filed in batch], consignment_columns_pb2.ConsignmentColumns, consignment_pb2.Consignment
    )
    accepted = [day_of_date(filed.accepted) * MICROS_PER_DAY + MICROS_PER_DAY // 2 for filed in batch]
    return filings_of(table, Ints.of(accepted))


def assessed(
    program: Program,
    batch: Sequence[Consignment],
    sums: LimitAggregates | None = None,
    register: Register | None = None,
) -> list[Result]:
    """Assess a batch by the columns and give it in the oracle's words."""
    return results(assess(program, filings(batch), sums, register))


def results(assessment: Assessment) -> list[Result]:
    """Say an assessment in the oracle's words, so that the two can be compared."""
    program, lines = assessment.program, assessment.lines
    told = []
    for row in range(assessment.filings.rows):
        result = Result(
            Reason(int(assessment.reason[row])).name,
            int(assessment.intrinsic[row]),
            int(assessment.customs_value[row]),
            notes={name for bit, name in NOTES if bit & int(assessment.notes[row])},
        )
        if assessment.valued[row]:
            begin, end = assessment.filings.offsets[row : row + 2].tolist()
            result.item_values = assessment.item_customs_value[begin:end].tolist()
        for at in range(int(assessment.offsets[row]), int(assessment.offsets[row + 1])):
            slot, outcome, item = int(lines.slot[at]), int(lines.outcome[at]), int(lines.item[at])
            result.charges.append(
                Charged(
                    program.charges[int(program.slots.charge[slot])].id,
                    None if item < 0 else item - int(assessment.filings.offsets[row]),
                    int(lines.basis[at]),
                    int(program.rates.ppm[lines.rate[at]]),
                    int(lines.amount[at]),
                    COLLECTORS[int(program.outcomes.collector[outcome])],
                    DEBTORS[int(program.outcomes.debtor[outcome])],
                    SCHEMES[int(program.outcomes.scheme[outcome])],
                    bool(lines.waived[at]),
                    program.rate_texts[int(program.rates.text[lines.rate[at]])],
                    0 if lines.quantity is None else int(lines.quantity[at]),
                    program.references[int(program.rates.reference[lines.rate[at]])],
                    0 if lines.forgone is None else int(lines.forgone[at]),
                )
            )
        told.append(result)
    return told
