"""Fields that are written as bytes are those that a message writes."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from libs.columns.varints import INT64, UINT32, field, varint, varints
from luxor.columns.v1.columns_pb2 import Ints, StringLists, Strings

LEAST, GREATEST = -(2**63), 2**63 - 1
edges = st.integers(1, 63).flatmap(lambda bits: st.sampled_from([2**bits - 1, -(2**bits), 2 ** (bits - 1)]))


@given(st.lists(st.integers(0, 200) | edges, max_size=6), st.sampled_from([1, 50]))
@example([LEAST, -1, 0, GREATEST], 50)
@example([GREATEST], 2)
@example([127], 2)
@example([128], 2)
@example([128, 127], 1)
@example([], 1)
def test_signed_numbers_are_read_as_they_are(some: list[int], times: int) -> None:
    values = np.array(some * times, np.int64)
    assert list(Ints.FromString(field(1, varints(values, INT64))).values) == values.tolist()


@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("largest", [0, 127, 128, 16_384, 2**31 - 1])
def test_places_are_read_from_any_field_of_numbers(kind: type[np.signedinteger], largest: int) -> None:
    values = np.linspace(0, largest, 300).astype(kind)
    written = varints(values, UINT32)
    assert list(Strings.FromString(field(2, written)).indices) == values.tolist()
    assert list(StringLists.FromString(field(1, written)).offsets) == values.tolist()


@pytest.mark.parametrize("others", [[], [0], [0] * 300])
@pytest.mark.parametrize("wrong", [-1, 2**32, LEAST, GREATEST])
def test_a_place_that_its_field_does_not_hold_is_refused_and_never_cut(wrong: int, others: list[int]) -> None:
    with pytest.raises(ValueError, match=f"^{wrong} is out of range"):
        varints(np.array([*others, wrong], np.int64), UINT32)
    greatest = np.array([*others, 2**32 - 1], np.int64)
    assert list(Strings.FromString(field(2, varints(greatest, UINT32))).indices) == greatest.tolist()


@pytest.mark.parametrize("number", [0, 1, 127, 128, 16_383, 16_384, 2**32, 2**64 - 1])
def test_a_number_alone_is_written_in_the_fewest_groups(number: int) -> None:
    signed = number - 2**64 if number > GREATEST else number
    assert field(1, varint(number)) == Ints(values=[signed]).SerializeToString()


@pytest.mark.parametrize("size", [1, 127, 128, 20_000])
def test_a_field_has_its_length_before_its_content(size: int) -> None:
    content = bytes(range(256)) * 80
    assert field(2, content[:size]) == Ints(validity=content[:size]).SerializeToString()
