"""An export owes nothing, which is known: no limit is tested, no sum counts it, and its value is what is declared."""

from __future__ import annotations

import numpy as np

from libs.columns import Ints, Table
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import DIRECTION_EXPORT
from services.revenue.api.quotes import landed_costs, quote_batch
from services.revenue.assessment.aggregates import Aggregates
from services.revenue.assessment.batch import ActiveLaw, Batch
from services.revenue.assessment.inputs import unpack_input
from services.revenue.law.assess.eligibility.scheme_register import EMPTY
from services.revenue.law.batch.filings import filings_of
from services.revenue.what_if.part import baseline_charges
from tests.revenue.bundles import ALONE, DAY, Parcel, bundling, table_of

PROGRAM = bundling()
FIGURES = (
    "duty",
    "tax",
    "fee",
    "collected_by_customs",
    "collected_by_vendor",
    "collected_by_carrier",
    "collected_by_postal_operator",
)


def with_exports(parcels: list[Parcel], exported: list[bool]) -> Table:
    there = np.array(exported)
    return table_of(parcels).with_columns({"direction": Ints.of(np.where(there, DIRECTION_EXPORT, 0), there)})


def batch_of(table: Table) -> Batch:
    return Batch(ActiveLaw(PROGRAM), table, table.encode(ConsignmentColumns))


def test_an_export_owes_nothing_and_says_why() -> None:
    parcels = [Parcel(0, ALONE, 20_000), Parcel(1, ALONE, 20_000), Parcel(2, "XX", 700, currency="USD")]
    table = with_exports(parcels, [False, True, True])
    answer = batch_of(table).answer(Aggregates.none())
    assert answer.strings("reason").tolist() == ["", "", ""]
    assert sum(answer.ints(name)[0] or 0 for name in FIGURES[:3]) > 0
    for row in (1, 2):
        assert [answer.ints(name)[row] for name in FIGURES] == [0] * len(FIGURES)
        assert answer.ragged("charges").lengths[row] == 0
        notes = answer.ragged("notes")
        assert notes.values.take(np.arange(*notes.offsets[row : row + 2])).tolist() == ["EXPORT"]
        assert answer.strings("rulebook_version")[row] == ""
        assert answer.ints("customs_value")[row] is None
    assert answer.strings("currency").tolist()[1:] == ["EUR", "USD"]
    assert answer.ints("intrinsic_value").tolist()[1:] == [20_000, 700]
    alone = batch_of(table.take(np.array([0]))).answer(Aggregates.none())
    assert [alone.ints(name)[0] for name in FIGURES] == [answer.ints(name)[0] for name in FIGURES]


def test_exports_count_in_no_sum() -> None:
    parcels = [Parcel(number, area, 4_000, person="P1", name="N") for number, area in enumerate(sorted(PROGRAM.areas))]
    imports, exported = with_exports(parcels, [False] * len(parcels)), with_exports(parcels, [True] * len(parcels))
    assert batch_of(imports).summed
    assert not batch_of(exported).summed


def test_a_reassessment_and_a_quote_know_the_direction() -> None:
    table = with_exports([Parcel(0, ALONE, 20_000)], [True])
    batch = batch_of(table)
    batch.pack()
    answer = batch.answer(Aggregates.none())
    stored = unpack_input(*batch.encode_stored(np.arange(1)))
    assert filings_of(stored.table).exports.tolist() == [True]
    # What a draft of the law would change of an export is not counted.
    assert baseline_charges(answer, filings_of(stored.table)).assessed.tolist() == [False]
    quoted = quote_batch(PROGRAM, EMPTY, table, Ints.constant(DAY * 86_400_000_000, 1))
    (cost,) = landed_costs(quoted.assessment)
    assert (cost.reason, cost.landed_cost_minor) == ("EXPORT", 0)
    assert cost.explanation == ["The goods are declared for export: no charges of an import are owed."]
