"""What revenue reads of a batch of consignments, as columns."""

from dataclasses import dataclass

import numpy as np

from libs.columns import Bools, Ints, Strings, Table
from libs.filing_stages.direction import exports
from libs.filing_stages.shares import split_shares
from luxor.consignment.v1 import consignment_pb2 as pb
from services.revenue.law.batch.arithmetic import Flags, Int64, some


@dataclass(slots=True)
class Filings:
    """A batch of consignments; row columns have one element a consignment, item columns one a line of goods."""

    table: Table
    """The batch as it came; columns that few rules need are read of it when first asked for."""
    rows: int
    destination: Strings
    acceptance: Ints
    sale: Ints
    export: Ints
    direct_shipment: Ints
    freight: Ints
    freight_currency: Strings
    insurance: Ints
    insurance_currency: Strings
    clearance_fee: Ints
    clearance_fee_currency: Strings
    includes_tax: Bools
    gross_mass: Ints
    reference_row: Int64
    """Row of each fiscal reference."""
    reference_scheme: Int64
    reference_number: Strings
    offsets: Int64
    """Row i owns the items offsets[i] up to offsets[i + 1]."""
    item_row: Int64
    item_number: Int64
    code: Strings
    price: Ints
    price_currency: Strings
    tax_charged: Ints
    tax_charged_currency: Strings
    tax_rate: Ints
    preference: Strings
    returns: Flags | None
    """Rows that are returns; None if there is none."""
    exports: Flags
    """Which rows are exports."""
    shares: Flags | None
    """Rows that are shares of a split shipment; None if there is none."""

    @property
    def items(self) -> int:
        """Number of lines of goods in the batch."""
        return len(self.item_row)

    @property
    def goods(self) -> Table:
        """Return the lines of goods unread, for columns that few rules need: net mass, quantities, units."""
        return self.table.child("items")

    @property
    def dispatch(self) -> Strings:
        """Country where direct shipment began, of its UN/LOCODE; else the country of dispatch."""
        place = self.table.strings("direct_shipment_place").translate(lambda place: place[:2])
        return first_present(place, self.table.strings("dispatch_country"))

    @property
    def origin(self) -> Strings:
        """Country of origin of each item."""
        return self.goods.strings("origin_country")


def filings_of(table: Table, acceptance: Ints | None = None) -> Filings:
    """Read a table of luxor.consignment.v1.ConsignmentColumns.

    `acceptance` stands in for the column accepted_at where nothing was accepted yet. The destination is the
    consignment's, or the country of the consignee's address where it names none.
    """
    items = table.ragged("items")
    goods = table.child("items")
    references = table.ragged("fiscal_references")
    reference = table.child("fiscal_references")
    item_row = items.owners()
    offsets = np.asarray(items.offsets, dtype=np.int64)
    number = goods.ints("number")
    returns = table.ints("nature").values == pb.NATURE_RETURN
    split = split_shares(table)
    place = np.arange(len(item_row), dtype=np.int64) - offsets[item_row] + 1
    return Filings(
        table=table,
        rows=table.rows,
        destination=first_present(table.strings("destination_country"), table.strings("consignee_address_country")),
        acceptance=acceptance or table.ints("accepted_at"),
        sale=table.ints("order_time"),
        export=table.ints("export_time"),
        direct_shipment=table.ints("direct_shipment_time"),
        freight=table.ints("freight_minor"),
        freight_currency=table.strings("freight_currency"),
        insurance=table.ints("insurance_minor"),
        insurance_currency=table.strings("insurance_currency"),
        clearance_fee=table.ints("clearance_fee_minor"),
        clearance_fee_currency=table.strings("clearance_fee_currency"),
        includes_tax=table.bools("prices_include_tax"),
        gross_mass=table.ints("gross_mass_mg"),
        reference_row=references.owners(),
        reference_scheme=reference.ints("scheme").values,
        reference_number=reference.strings("number"),
        offsets=offsets,
        item_row=item_row,
        item_number=np.where(number.valid, number.values, place),
        code=goods.strings("commodity_code"),
        price=goods.ints("price_minor"),
        price_currency=goods.strings("price_currency"),
        tax_charged=goods.ints("tax_charged_minor"),
        tax_charged_currency=goods.strings("tax_charged_currency"),
        tax_rate=goods.ints("tax_rate_ppm"),
        preference=goods.strings("preference"),
        returns=returns if some(returns) else None,
        exports=exports(table),
        shares=split if some(split) else None,
    )


def first_present(first: Strings, second: Strings) -> Strings:
    """Return for each row the first column's value, or the second's if the first is absent."""
    there = first.present
    if there.all():
        return first
    if not there.any():
        return second
    size = len(first.dictionary)
    both = Strings(
        [*first.dictionary, *second.dictionary], np.where(there, first.indices, second.indices + size).astype(np.int32)
    )
    return both.translate(str)
