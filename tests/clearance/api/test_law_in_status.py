"""What revenue tells of its law reaches the status: how much was reviewed, what is owed at least and why, and what was waived."""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.columns import Column, Ints, Ragged, Strings, Table, schema_of
from libs.server.identity import Role
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.revenue.v1 import revenue_pb2
from services.clearance.api.messages import notices_of, statuses
from services.clearance.consignment.assessment import owed_columns
from services.clearance.consignment.explanation import sentence
from services.clearance.consignment.transitions import Change, State

CHARGES = schema_of(revenue_pb2.AssessmentColumns).children["charges"]


def revenue(notes: list[str], **columns: Column) -> Table:
    charge = Table(
        CHARGES, 1,
        {"charge": Strings.of(["NZ.gst"]), "amount": Ints.of([0]), "basis": Ints.of([39_000]), "rate_ppm": Ints.of([150_000]),
         "sentence": Strings.of(["percent_waived"]), "forgone": Ints.of([5_850])},
    )  # fmt: skip
    amounts: dict[str, Column] = {name: Ints.of([300]) for name in ("duty", "tax", "fee", "collected_by_customs")}
    listed = Ragged.of_lengths([len(notes)], Strings.of(notes))
    return Table.of(
        revenue_pb2.AssessmentColumns, 1,
        {**amounts, "currency": Strings.of(["NZD"]), "notes": listed, "charges": Ragged.of_lengths([1], charge), **columns},
    )  # fmt: skip


def status_of(answer: Table) -> Any:
    # Stored and read again, as a state is.
    stored = Table(schema_of(ClearanceColumns), 1, owed_columns(answer)).encode(ClearanceColumns)
    (status,) = statuses(Table.decode(stored), Role.OFFICER)
    return status


def test_what_was_reviewed_and_what_is_not_covered_stands_in_the_status() -> None:
    status = status_of(
        revenue(
            ["NOT_COVERED"], reviewed=Ints.of([450]), not_covered=Ragged.of_lengths([1], Strings.of(["excise duty"]))
        )
    )
    assert (status.debt.reviewed_minor, status.debt.lower_bound, list(status.debt.not_covered)) == (
        450,
        True,
        ["excise duty"],
    )
    sure = status_of(revenue([], reviewed=Ints.of([0])))
    assert (sure.debt.HasField("reviewed_minor"), sure.debt.reviewed_minor, sure.debt.lower_bound) == (True, 0, False)


def test_a_state_of_an_earlier_release_does_not_know_what_was_reviewed_but_is_a_lower_bound_where_it_was_noted() -> (
    None
):
    status = status_of(revenue(["WITHIN_LIMIT", "NOT_COVERED"]))
    assert not status.debt.HasField("reviewed_minor")
    assert (status.debt.lower_bound, list(status.debt.not_covered)) == (True, [])


def test_a_reassessment_that_covers_everything_takes_the_mark_away() -> None:
    before = Table(schema_of(ClearanceColumns), 1, owed_columns(
        revenue(["NOT_COVERED"], not_covered=Ragged.of_lengths([1], Strings.of(["excise duty"])))
    ))  # fmt: skip
    (status,) = statuses(before.with_columns(owed_columns(revenue([]))), Role.OFFICER)
    assert (status.debt.lower_bound, list(status.debt.not_covered)) == (False, [])


def test_a_waived_charge_says_what_it_would_be() -> None:
    (charge,) = status_of(revenue([])).debt.charges
    assert (charge.amount_minor, charge.forgone_minor) == (0, 5_850)
    assert charge.sentence == "15 % of 390.00 NZD would be 58.50 NZD (not levied: the sum is too small)."


def test_a_charge_on_goods_that_come_back_says_what_it_would_be() -> None:
    assert sentence("percent_by_tariff_returned", "EUR", 10_000, 120_000, None, 0, 1_200) == (
        "12 % of 100.00 EUR, by the tariff's rate for the commodity code, would be 12.00 EUR (not levied: the goods come back)."
    )
    # One of a release to come is explained by its amount alone.
    assert sentence("percent_of_tomorrow", "EUR", 10_000, 120_000, None, 0, None) == "0.00 EUR."


def test_a_notice_marks_what_is_payable_at_least_but_not_for_carriers() -> None:
    # Carriers receive notices of goods that arrived.
    arrived = dict.fromkeys(("changed_at", "arrived_at"), Ints.of(np.array([1])))
    owed = owed_columns(revenue(["NOT_COVERED"]))
    state = Table(schema_of(ClearanceColumns), 1, owed).with_columns(
        arrived | {"change": Ints.of([Change.ARRIVED]), "state": Ints.of([State.HELD])}
    )
    assert [each.lower_bound for each in notices_of(state, carrier=False)] == [True]
    assert [each.lower_bound for each in notices_of(state, carrier=True)] == [False]
