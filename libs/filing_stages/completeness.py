"""Which elements of the stages' data sets filings lack. Tables of ConsignmentColumns. Pure; whole batches."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table, among
from libs.filing_stages.direction import exports, of_rows
from libs.filing_stages.law import Addition, DataSets, Role, Rule, Stage
from luxor.consignment.v1 import consignment_pb2 as pb

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Gaps = tuple[tuple[Stage, tuple[str, ...]], ...]
"""The stages for which a filing is not complete, each with the elements that it lacks."""
_ITEMS: Final = "items"


def before_declaration(filings: Table, data_sets: DataSets) -> BoolArray:
    """Return which filings are made for security alone, before the declaration, shape (n,).

    They state neither a nature nor a price, nor the currency of one, are no exports, and travel in a mode that has the minimum set.
    """
    early: BoolArray = ~filings.column("nature").present & ~exports(filings)
    if not early.any():
        return early
    early &= among(filings.ints("transport_mode").filled(0), data_sets.minimum_set_modes)
    items = filings.child(_ITEMS)
    priced = items.column("price_minor").present | items.column("price_currency").present
    early[filings.ragged(_ITEMS).owners()[priced]] = False
    return early


def lacks(filings: Table, element: str) -> BoolArray:
    """Return which filings lack all alternatives of an element, shape (n,)."""
    first, *others = element.split("|")
    found = _has(filings, first)
    for other in others:
        if found.all():
            break
        found = found | _has(filings, other)
    return ~found


def gaps(filings: Table, data_sets: DataSets, days: IntArray) -> list[Gaps]:
    """Return for each filing, accepted on `days` since 1970-01-01, the stages for which it is not complete."""
    lacking = [(stage, element, rows) for stage in Stage for element, rows in _lacking(filings, data_sets, stage, days)]
    if not lacking:
        return [()] * filings.rows
    # Batches lack the same few times over: what is lacking is named once for each pattern, by its bits. To sort the patterns takes longer.
    bits = np.packbits(np.stack([rows for _, _, rows in lacking], axis=1), axis=1)
    width, content = bits.shape[1], bits.tobytes()
    keys = [content[at : at + width] for at in range(0, len(content), width)]
    texts: dict[bytes, Gaps] = {}
    for row, key in enumerate(keys):
        if key not in texts:
            texts[key] = _gaps_of([(stage, element) for stage, element, rows in lacking if rows[row]])
    return [texts[key] for key in keys]


def counted(filings: Table, data_sets: DataSets, stage: Stage, day: int) -> IntArray:
    """Return how many elements of a stage each filing lacks, of those without which it is accepted, shape (n,).

    They are accepted on `day` since 1970-01-01. An element that both the stage and a jurisdiction ask for counts once.
    """
    rows: dict[str, BoolArray] = {}
    required = data_sets.required(stage)
    for element, lacking in _lacking(filings, data_sets, stage, day, required):
        rows[element] = rows[element] | lacking if element in rows else lacking
    count = np.zeros(filings.rows, np.int64)
    for lacking in rows.values():
        count += lacking
    return count


def additions(
    filings: Table, data_sets: DataSets, stage: Stage, days: IntArray | int
) -> Iterator[tuple[str, Addition, BoolArray]]:
    """Yield what jurisdictions of destination add to a stage and some imports lack: jurisdiction, addition, and these filings."""
    of_country = np.where(exports(filings), -1, jurisdictions(filings, data_sets))
    absent: dict[str, BoolArray] = {}
    met: dict[str, BoolArray] = {}
    for place in np.flatnonzero(np.bincount(of_country + 1)[1:]).tolist():
        jurisdiction = data_sets.jurisdictions[place]
        for addition in jurisdiction.additions:
            if not addition.concerns(stage):
                continue
            name = addition.element
            if name not in absent:
                absent[name] = lacks(filings, name)
            from_day, to_day = addition.days
            if not absent[name].any():
                continue
            rows = absent[name] & (of_country == place) & (days >= from_day) & (days <= to_day)
            if rows.any():
                if addition.condition not in met:
                    rule = data_sets.conditions[addition.condition].rule
                    assert rule is not None, "checked when the file was read"
                    met[addition.condition] = meets(filings, rule)
                rows &= met[addition.condition]
                if rows.any():
                    yield jurisdiction.jurisdiction, addition, rows


def required_parts(filings: Table, data_sets: DataSets, day: int) -> list[tuple[Role, ...]]:
    """Return for each filing, accepted on `day` since 1970-01-01, the roles of which its jurisdiction requires a part; none for exports."""
    found: list[tuple[Role, ...]] = [()] * filings.rows
    requiring = [place for place, each in enumerate(data_sets.jurisdictions) if each.parts]
    of_country = jurisdictions(filings, data_sets)
    if not among(of_country, requiring).any():
        return found
    of_country = np.where(exports(filings), -1, of_country)
    for place in requiring:
        for part in data_sets.jurisdictions[place].parts:
            rule = data_sets.conditions[part.condition].rule
            assert rule is not None, "checked when the file was read"
            if part.days[0] <= day <= part.days[1]:
                for row in np.flatnonzero(meets(filings, rule) & (of_country == place)).tolist():
                    found[row] = *found[row], part.role
    return found


def meets(filings: Table, rule: Rule) -> BoolArray:
    """Return which filings meet a condition, shape (n,)."""
    found = np.ones(filings.rows, np.bool_)
    for column, prefix, enum, names in (
        ("nature", "NATURE", pb.Nature, rule.nature),
        ("transport_service", "TRANSPORT_SERVICE", pb.TransportService, rule.service),
        ("consignee_person_type", "PERSON_TYPE", pb.PersonType, rule.consignee),
    ):
        if names:
            stated = [int(enum.Value(f"{prefix}_{name}")) for name in names]
            found &= among(filings.ints(column).filled(0), stated)
    if rule.scheme:
        numbers = [int(pb.Scheme.Value(f"SCHEME_{name}")) for name in rule.scheme]
        referred = np.zeros(filings.rows, np.bool_)
        schemes = filings.child("fiscal_references").ints("scheme").filled(0)
        referred[filings.ragged("fiscal_references").owners()[among(schemes, numbers)]] = True
        found &= referred
    if rule.tax_at_sale:
        taxed = filings.bools("prices_include_tax").values.copy()
        charged = filings.child(_ITEMS).ints("tax_charged_minor").filled(0) > 0
        taxed[filings.ragged(_ITEMS).owners()[charged]] = True
        found &= taxed
    return found


def _lacking(
    filings: Table, data_sets: DataSets, stage: Stage, days: IntArray | int, without: Collection[str] = ()
) -> Iterator[tuple[str, BoolArray]]:
    for name in data_sets.mandatory(stage):
        if name not in without:
            yield name, lacks(filings, name)
    for name, rule in data_sets.conditional(stage):
        yield name, lacks(filings, name) & meets(filings, rule)
    for _, addition, rows in additions(filings, data_sets, stage, days):
        if addition.element not in without:
            yield addition.element, rows


def _gaps_of(lacking: Sequence[tuple[Stage, str]]) -> Gaps:
    by_stage: dict[Stage, dict[str, None]] = {}
    for stage, element in lacking:
        by_stage.setdefault(stage, {})[element] = None
    return tuple((stage, tuple(elements)) for stage, elements in by_stage.items())


def jurisdictions(filings: Table, data_sets: DataSets) -> IntArray:
    """Return the place of the jurisdiction that decides on each filing, -1 for those that add nothing: of destination, for exports of dispatch."""
    destination, exported = filings.strings("destination_country"), exports(filings)
    if exported.any():
        destination = of_rows(destination, filings.strings("dispatch_country"), exported)
    present = destination.present
    places: IntArray = destination.map(lambda country: data_sets.by_country.get(country, -1), np.int64)
    if not present.all():
        home = filings.strings("consignee_address_country")
        present |= exported
        places = np.where(present, places, home.map(lambda country: data_sets.by_country.get(country, -1), np.int64))
    return places


def _has(filings: Table, name: str) -> BoolArray:
    """Return which filings have an element: of the goods in every item, of a list in one of its entries."""
    name, _, kind = name.partition(":")
    path = name.split(".")
    if path[0] == _ITEMS:
        items = filings.ragged(_ITEMS)
        of_items = filings.child(_ITEMS)
        if len(path) == 2:
            present: BoolArray = items.lengths > 0
            present[items.owners()[~of_items.column(path[1]).present]] = False
            return present
        present = np.zeros(filings.rows, np.bool_)
        present[items.owners()[_in_entries(of_items, path[1], path[2])]] = True
        return present
    if len(path) == 2:
        return _in_entries(filings, *path)
    present = filings.column(name).present
    if kind:
        number = pb.IdentifierType.Value(f"IDENTIFIER_TYPE_{kind}")
        present = present & (filings.ints(f"{name}_type").filled(0) == number)
    return present


def _in_entries(table: Table, lists: str, column: str) -> BoolArray:
    """Return which rows of a table have a list with an entry that has an element."""
    present = np.zeros(table.rows, np.bool_)
    present[table.ragged(lists).owners()[table.child(lists).column(column).present]] = True
    return present
