"""The 64 partitions: fixed for ever, the same one by one and in a batch."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.customs.partitions import PARTITIONS, partition_of, partitions_of

TEXTS = st.text(max_size=30)


def oracle(filer: str, reference: str) -> int:
    digest = hashlib.sha256((filer + "\x1f" + reference).encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") % 64


def test_the_partition_of_known_keys_never_changes() -> None:
    known = [("carrier-1", "REF0"), ("carrier-1", "REF1"), ("платформа", "посылка-7"), ("", "")]
    assert [partition_of(*key) for key in known] == [23, 43, 45, 54]


@given(TEXTS, TEXTS)
def test_one_key_lies_where_its_sha256_says(filer: str, reference: str) -> None:
    assert partition_of(filer, reference) == oracle(filer, reference)


@given(TEXTS, st.lists(TEXTS, max_size=20))
def test_a_batch_of_one_filer_equals_one_by_one(filer: str, references: list[str]) -> None:
    batch = partitions_of(filer, references)
    assert batch.dtype == np.int64
    assert batch.tolist() == [oracle(filer, reference) for reference in references]


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=20))
def test_a_batch_of_many_filers_equals_one_by_one(keys: list[tuple[str, str]]) -> None:
    batch = partitions_of([filer for filer, _ in keys], [reference for _, reference in keys])
    assert batch.tolist() == [oracle(*key) for key in keys]


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="1 filers for 2 references"):
        partitions_of(["a"], ["b", "c"])


def test_ordinary_references_spread_over_all_partitions_evenly() -> None:
    counts = np.bincount(
        partitions_of("carrier-1", [f"ORDER-{number}" for number in range(64_000)]), minlength=PARTITIONS
    )
    # 1,000 expected in each; six standard deviations are about 190.
    assert counts.min() > 810
    assert counts.max() < 1190
