"""To which filings the law of release categories applies, and which elements of a data set they lack. Tables of ConsignmentColumns. Pure."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Strings, Table, among
from libs.customs.time import day_of_date
from libs.filing_stages.direction import exports, importing
from libs.release_law.law import ITEMS, NATURES, SCHEMES, SERVICES, DataSet, Entry, Jurisdiction, ReleaseLaw
from luxor.consignment.v1 import consignment_pb2

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_PRINTED: Final = "49"
"""Chapter of the Harmonized System with printed matter, manuscripts, typescripts and plans."""
_OF_GOODS: Final = ("gtin", "cas_number", "un_number", "imeis", "merchant_product_id", "manufacturer_product_id")
"""Identifiers of an item that goods have and documents without a value have not."""
_OF_ORDERS: Final = ("order_platform", "order_number", "payment_reference")
"""Elements of a filing that a sale has and documents without a value have not."""
_MG_PER_KG: Final = 1_000_000


def by_jurisdiction(filings: Table, law: ReleaseLaw) -> list[tuple[Jurisdiction, IntArray]]:
    """Return the jurisdictions whose law is known, each with the rows of its consignments; none has exports."""
    known = list({each.law.jurisdiction: each for each in law.by_country.values()}.values())
    numbers = {country: known.index(each) for country, each in law.by_country.items()}
    destination = importing(filings)
    found = _numbered(destination, numbers)
    absent = ~destination.present & ~exports(filings)
    if absent.any():
        found = np.where(absent, _numbered(filings.strings("consignee_address_country"), numbers), found)
    return [(known[number], np.flatnonzero(found == number)) for number in np.unique(found[found >= 0]).tolist()]


def applies(entry: Entry, filings: Table, places: IntArray, days: IntArray) -> BoolArray:
    """Return to which of the rows `places`, accepted on `days`, an entry applies by its days and conditions; of their shape."""
    result: BoolArray = days >= day_of_date(entry.start)
    if entry.to is not None:
        result &= days <= day_of_date(entry.to)
    only = entry.condition
    if only is None:
        return result
    if only.nature:
        result &= among(filings.ints("nature").values[places], [NATURES[each] for each in only.nature])
    if only.service:
        services = [SERVICES[each] for each in only.service]
        result &= among(filings.ints("transport_service").values[places], services)
    if only.scheme:
        schemes = among(
            filings.child("fiscal_references").ints("scheme").filled(0), [SCHEMES[each] for each in only.scheme]
        )
        filed = np.zeros(filings.rows, np.bool_)
        filed[filings.ragged("fiscal_references").owners()[schemes]] = True
        result &= filed[places]
    if only.dispatch:
        direct, dispatch = filings.strings("direct_shipment_place"), filings.strings("dispatch_country")
        countries = frozenset(only.dispatch)
        named = direct.map(lambda place: place[:2] in countries, np.bool_)[places]
        result &= np.where(direct.present[places], named, dispatch.isin(countries)[places])
    if only.gross_mass_max_kg:
        mass = filings.ints("gross_mass_mg")
        result &= (mass.valid & (mass.filled(0) <= only.gross_mass_max_kg * _MG_PER_KG))[places]
    return result


def excluded(entry: Entry, filings: Table) -> BoolArray:
    """Return which filings have an item that an entry excludes by its commodity code, shape (n,)."""
    result = np.zeros(filings.rows, np.bool_)
    if entry.excluded:
        codes = filings.child("items").strings("commodity_code")
        named = codes.map(lambda code: code.startswith(entry.excluded), np.bool_)
        if named.any():
            result[filings.ragged("items").owners()[named]] = True
    return result


def worthless(filings: Table) -> BoolArray:
    """Return which filings state nothing of value, shape (n,): each item has the price zero, or no item has a price; nothing is a payment, a total,
    charged tax or an insured amount above zero; and nothing names goods or a sale: no code of other goods than documents, no identifier of goods,
    no order and no number of the import scheme.
    """
    items, lines = filings.ragged("items"), filings.child("items")
    owners, price = items.owners(), lines.ints("price_minor")
    priced = np.bincount(owners[price.valid], minlength=filings.rows)
    # Beside stated prices a missing one is not known to be zero.
    known = (priced == items.lengths) | (priced == 0)
    goods = lines.strings("commodity_code").map(lambda code: code[:2] not in ("", _PRINTED), np.bool_)
    for name in _OF_GOODS:
        if lines.may_have(name):
            goods = goods | lines.column(name).present
    goods = goods | (price.filled(0) > 0)
    if lines.may_have("tax_charged_minor"):
        goods = goods | (lines.ints("tax_charged_minor").filled(0) > 0)
    nothing: BoolArray = known & (np.bincount(owners[goods], minlength=filings.rows) == 0)
    for name in ("invoice_total_minor", "payment_amount_minor", "insurance_minor"):
        if filings.may_have(name):
            nothing = nothing & (filings.ints(name).filled(0) <= 0)
    for name in _OF_ORDERS:
        if filings.may_have(name):
            nothing = nothing & ~filings.column(name).present
    if filings.may_have("fiscal_references"):
        references = filings.ragged("fiscal_references")
        ioss = filings.child("fiscal_references").ints("scheme").filled(0) == consignment_pb2.SCHEME_IOSS
        nothing[references.owners()[ioss]] = False
    return nothing


def documents(filings: Table) -> BoolArray:
    """Return which imports are declared as documents and state no value, shape (n,)."""
    declared: BoolArray = (filings.ints("nature").values == consignment_pb2.NATURE_DOCUMENT) & ~exports(filings)
    return declared & worthless(filings) if declared.any() else declared


def lacking(filings: Table, data_set: DataSet) -> list[tuple[str, BoolArray]]:
    """Return the elements of a data set that some filings lack, each with these filings, shape (n,)."""
    found: list[tuple[str, BoolArray]] = []
    items = filings.ragged("items")
    for name in data_set.elements:
        of_items = name.startswith(ITEMS)
        there = (filings.child("items") if of_items else filings).column(name.removeprefix(ITEMS)).present
        if there.all():
            continue
        lacks = ~there
        if of_items:
            lacks = np.zeros(filings.rows, np.bool_)
            lacks[items.owners()[~there]] = True
        found.append((name, lacks))
    return found


def _numbered(countries: Strings, numbers: Mapping[str, int]) -> IntArray:
    of_dictionary = np.array([numbers.get(country, -1) for country in countries.dictionary], np.int64)
    return of_dictionary[countries.indices] if len(countries.indices) else np.empty(0, np.int64)
