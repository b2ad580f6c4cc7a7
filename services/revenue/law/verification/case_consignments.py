"""The consignments of cases, as a filer would write them."""

from datetime import UTC, date, datetime
from decimal import Decimal

from libs.customs.money import parse_minor
from luxor.consignment.v1 import consignment_pb2
from services.revenue.law.verification.cases import Case, CaseRefused, Filed


def consignments_of(case: Case) -> list[consignment_pb2.Consignment]:
    """Return the consignments of a case: what the source gives, then what had to be added. Raises CaseRefused."""
    try:
        return [_consignment(filed) for filed in case.filed()]
    except CaseRefused:
        raise
    except (ValueError, LookupError, TypeError) as error:
        raise CaseRefused(case.id, f"cannot be written as a consignment: {error}") from None


def accepted_at(case: Case) -> datetime:
    """Return the moment of acceptance of a case: noon of its day."""
    return _noon(case.as_of)


def _noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def _consignment(filed: Filed) -> consignment_pb2.Consignment:
    row = consignment_pb2.Consignment(
        destination_country=filed.destination,
        dispatch_country=filed.dispatch,
        direct_shipment_place=filed.direct_shipment,
        carrier_identifier=filed.carrier,
    )
    for name in ("freight", "insurance", "clearance_fee"):
        amount = getattr(filed, name)
        if amount is not None:
            getattr(row, name).CopyFrom(_money(amount, getattr(filed, f"{name}_currency") or filed.currency))
    if filed.prices_include_tax is not None:
        row.prices_include_tax = filed.prices_include_tax
    if filed.nature:
        row.nature = consignment_pb2.Nature.Value(f"NATURE_{filed.nature.upper()}")
    if filed.consignor:
        row.consignor.person_type = consignment_pb2.PersonType.Value(f"PERSON_TYPE_{filed.consignor.upper()}")
    if filed.mode:
        row.transport.mode = consignment_pb2.TransportMode.Value(f"TRANSPORT_MODE_{filed.mode.upper()}")
    if filed.service:
        row.transport.service = consignment_pb2.TransportService.Value(f"TRANSPORT_SERVICE_{filed.service.upper()}")
    if filed.conveyance:
        row.transport.conveyance_reference = filed.conveyance
    row.additional_procedures.extend(filed.additional_procedures)
    if filed.gross_mass_kg is not None:
        row.gross_mass_mg = _milligrams(filed.gross_mass_kg)
    for day, moment in ((filed.exported, "export_time"), (filed.shipped, "direct_shipment_time")):
        if day:
            getattr(row, moment).FromDatetime(_noon(day))
    if filed.arrival:
        row.transport.arrival_time.FromDatetime(_noon(filed.arrival))
    if filed.ordered:
        row.order.time.FromDatetime(_noon(filed.ordered))
    row.order.platform, row.order.number = filed.platform, filed.order
    _parties(row, filed)
    for item in filed.items:
        goods = row.items.add(
            description=item.description,
            commodity_code=item.commodity_code,
            origin_country=item.origin,
            preference=item.preference,
        )
        if item.price is not None:
            goods.price.CopyFrom(_money(item.price, item.currency or filed.currency))
        if item.quantity is not None:
            goods.quantity_milli, goods.quantity_unit = item.quantity * 1000, "H87"
        if item.net_mass_kg is not None:
            goods.net_mass_mg = _milligrams(item.net_mass_kg)
    for scheme, number in filed.schemes.items():
        row.fiscal_references.add(scheme=consignment_pb2.Scheme.Value(f"SCHEME_{scheme.upper()}"), number=str(number))
    return row


def _parties(row: consignment_pb2.Consignment, filed: Filed) -> None:
    if filed.consignee:
        row.consignee.name = filed.consignee
    if filed.consignee_kind:
        row.consignee.person_type = consignment_pb2.PersonType.Value(f"PERSON_TYPE_{filed.consignee_kind.upper()}")
    if filed.region:
        row.consignee.address.region = filed.region
    if filed.person:
        for party in (row.consignee, row.buyer):
            party.identifier = filed.person
            party.identifier_type = consignment_pb2.IDENTIFIER_TYPE_NATIONAL_PERSON
    if filed.importer:
        row.importer.identifier = filed.importer
        row.importer.identifier_type = consignment_pb2.IDENTIFIER_TYPE_NATIONAL_BUSINESS


def _money(amount: Decimal, currency: str) -> consignment_pb2.Money:
    return consignment_pb2.Money(minor=parse_minor(str(amount), currency), currency=currency)


def _milligrams(kilograms: Decimal) -> int:
    mass = kilograms * 1_000_000
    if mass != int(mass):
        raise ValueError(f"{kilograms} kg is finer than a milligram")
    return int(mass)
