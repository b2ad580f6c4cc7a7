"""Numbers written into a message at once are those that were added one after the other."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from libs.columns.varints import extend
from luxor.columns.v1.columns_pb2 import Ints, StringLists, Strings
from luxor.revenue.v1.revenue_pb2 import AssessmentColumns

MANY = 300
"""So many numbers are written at once."""
LEAST, GREATEST = -(2**63), 2**63 - 1
edges = st.integers(1, 63).flatmap(lambda bits: st.sampled_from([2**bits - 1, -(2**bits), 2 ** (bits - 1)]))


@given(st.lists(st.integers(0, 200) | edges, max_size=6), st.sampled_from([1, MANY]))
@example([LEAST, -1, 0, GREATEST], MANY)
@example([127], MANY)
@example([128], MANY)
def test_signed_numbers_are_added_as_they_are(some: list[int], times: int) -> None:
    values = np.array(some * times, np.int64)
    at_once, singly = Ints(values=[7]), Ints(values=[7])
    extend(at_once, "values", values)
    singly.values.extend(values.tolist())
    assert at_once == singly
    assert at_once.SerializeToString() == singly.SerializeToString()


@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("largest", [0, 127, 128, 16_384, 2**31 - 1])
def test_places_are_added_to_any_field_of_numbers(kind: type[np.signedinteger], largest: int) -> None:
    values = np.linspace(0, largest, MANY).astype(kind)
    for message, name in ((Strings(), "indices"), (StringLists(), "offsets"), (AssessmentColumns(), "offsets")):
        extend(message, name, values)
        assert list(getattr(message, name)) == values.tolist()


@pytest.mark.parametrize("times", [1, MANY])
@pytest.mark.parametrize("wrong", [-1, 2**32, LEAST, GREATEST])
def test_a_place_that_its_field_does_not_hold_is_refused_and_never_cut(wrong: int, times: int) -> None:
    message = Strings(indices=[3])
    with pytest.raises(ValueError, match="out of range"):
        extend(message, "indices", np.array([0, wrong] * times, np.int64))
    assert list(message.indices[:1]) == [3]
    assert wrong not in message.indices
    extend(message, "indices", np.full(MANY, 2**32 - 1, np.int64))
    assert message.indices[-1] == 2**32 - 1
