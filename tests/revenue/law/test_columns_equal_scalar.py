"""The vectorised evaluator gives what the scalar one gives, to the minor unit, for any consignment."""

from datetime import date
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.revenue.law.program.program import Program
from tests.revenue.law import lawbooks
from tests.revenue.law.batches import assessed
from tests.revenue.law.oracle import Scalar
from tests.revenue.law.oracle_charges import Consignment
from tests.revenue.law.utopia_filings import UTOPIA, consignments


@cache
def program(name: str) -> Program:
    return lawbooks.shipped() if name == "shipped" else lawbooks.utopia()


SHIPPED = consignments(
    ["DE", "FR", "NL", "IT", "RO", "FI", "GB", "AU", "US", ""],
    ["EUR", "USD", "JPY", "GBP", "AUD", "KWD", ""],
    date(2019, 1, 1),
)
RELAXED = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def compare(name: str, batch: list[Consignment]) -> None:
    law = program(name)
    scalar = Scalar(law)
    for filed, columns in zip(batch, assessed(law, batch), strict=True):
        alone = scalar.assess(filed)
        assert columns.problem == alone.problem or both_refuse(columns.problem, alone.problem), (filed, columns, alone)
        if alone.problem == "NONE":
            assert columns == alone, filed


def both_refuse(one: str, other: str) -> bool:
    # A consignment with two faults may be refused for either: which is found first depends on the order of the work.
    return "NONE" not in (one, other)


@given(batch=st.lists(SHIPPED, min_size=1, max_size=8))
@RELAXED
def test_the_columns_equal_the_scalar_law_for_the_shipped_rulebooks(batch: list[Consignment]) -> None:
    compare("shipped", batch)


@given(batch=st.lists(UTOPIA, min_size=1, max_size=8))
@RELAXED
def test_the_columns_equal_the_scalar_law_for_every_feature_of_the_format(batch: list[Consignment]) -> None:
    compare("utopia", batch)


@pytest.mark.parametrize("name", ["shipped", "utopia"])
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_splitting_a_batch_changes_nothing(name: str, data: st.DataObject) -> None:
    batch = data.draw(st.lists(SHIPPED if name == "shipped" else UTOPIA, min_size=2, max_size=8))
    cut = data.draw(st.integers(1, len(batch) - 1))
    law = program(name)
    assert assessed(law, batch) == assessed(law, batch[:cut]) + assessed(law, batch[cut:])


@pytest.mark.parametrize("name", ["shipped", "utopia"])
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_charges_sum_to_the_totals_by_kind_and_by_collector(name: str, data: st.DataObject) -> None:
    from services.revenue.law.assess.assessment import assess
    from tests.revenue.law.batches import filings

    batch = data.draw(st.lists(SHIPPED if name == "shipped" else UTOPIA, min_size=1, max_size=8))
    done = assess(program(name), filings(batch))
    sums = [int(done.lines.amount[done.offsets[row] : done.offsets[row + 1]].sum()) for row in range(len(batch))]
    assert sums == np.sum(done.by_kind, axis=0).tolist()
    assert sums == np.sum(done.by_collector, axis=0).tolist()
    assert sums == done.total.tolist()
    assert (done.intrinsic[done.reason != 0] == 0).all()
