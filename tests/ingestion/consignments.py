"""A good consignment, for tests to spoil."""

from typing import Any

from luxor.consignment.v1 import consignment_pb2 as pb


def consignment(number: int = 0) -> pb.Consignment:
    """Make a good consignment; those of other numbers differ."""
    made = pb.Consignment(
        local_reference=f"REF-{number}",
        procedure="4000",
        additional_procedures=["F48"],
        dispatch_country="CN",
        gross_mass_mg=500_000 + number,
        nature=pb.NATURE_SALE,
        receptacles=["CNSHAADEFRAAAUN10001001000010"],
    )
    made.transport.mode = pb.TRANSPORT_MODE_AIR
    made.transport.service = pb.TRANSPORT_SERVICE_EXPRESS
    made.transport.conveyance_reference = "LX0188"
    made.transport.route_countries.extend(["CN", "DE"])
    made.house_document.number = f"H{number:09d}"
    made.house_document.type = "N703"
    made.master_document.number = "16012345675"
    made.master_document.type = "N741"
    for party, name, country in ((made.consignor, "Meadow Lane Trading", "CN"), (made.consignee, "Ada Example", "DE")):
        party.name = name
        party.address.street, party.address.city, party.address.postcode = "Lindenstrasse 12", "Berlin", "10969"
        party.address.country = country
    made.consignor.address.postcode = "518000"
    made.order.platform, made.order.number = "bazaar.example", f"O-{number}"
    made.order.time.seconds = 1_790_000_000
    made.fiscal_references.add(scheme=pb.SCHEME_IOSS, number="IM2760000014")
    made.packages.add(count=1, type="CT")
    item = made.items.add(
        description="Ladies' woven cotton blouse",
        commodity_code="620630",
        merchant_product_id=f"M{number}",
        manufacturer_product_id=f"F{number}",
        gtin="4006381333931",
        quantity_milli=1000,
        quantity_unit="H87",
        net_mass_mg=400_000,
        origin_country="CN",
    )
    item.price.minor, item.price.currency = 1999, "EUR"
    return made


def put(row: pb.Consignment, path: str, value: Any) -> pb.Consignment:
    """Set a field by its path, adding list entries and the other half of an amount as they are needed."""
    at: Any = row
    *parents, name = path.split(".")
    for parent in parents:
        field, _, place = parent.partition("[")
        at = getattr(at, field)
        if place:
            at = at[0] if len(at) else at.add()
    field, _, place = name.partition("[")
    if place:
        del getattr(at, field)[:]
        getattr(at, field).append(value)
    else:
        setattr(at, field, value)
    if field == "minor":
        at.currency = "EUR"
    if field == "currency" and not at.HasField("minor"):
        at.minor = 1
    return row


def clear(row: pb.Consignment, path: str) -> pb.Consignment:
    """Clear a field by its path."""
    at: Any = row
    *parents, name = path.split(".")
    for parent in parents:
        field, _, place = parent.partition("[")
        at = getattr(at, field)
        at = at[0] if place else at
    at.ClearField(name)
    return row


def get(row: pb.Consignment, path: str) -> Any:
    """Return the value of a field by its path."""
    at: Any = row
    for part in path.split("."):
        field, _, place = part.partition("[")
        at = getattr(at, field)
        at = at[0] if place else at
    return at
