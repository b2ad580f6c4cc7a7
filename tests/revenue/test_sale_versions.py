"""Versions of sales: what is decided on a request at once is what is decided on its sales one after the other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.revenue.sales.versions import SaleKey, StoredVersion, decide

KEYS = st.builds(SaleKey, st.sampled_from("ab"), st.integers(0, 3), st.sampled_from((b"x", b"y", b"z")))


def one_by_one(stored: dict[str, list[bytes]], keys: list[SaleKey]) -> list[str]:
    """Decide by the definition: `stored` has the contents of each order number, version after version; return version or reason of each."""
    outcomes = []
    for key in keys:
        contents = stored.setdefault(key.order_number, [])
        if key.replaced < len(contents):
            same = contents[key.replaced] == key.digest
            outcomes.append(str(key.version) if same else "VERSION_REPLACED" if key.replaced else "ORDER_REUSED")
        elif key.replaced == len(contents):
            contents.append(key.digest)
            outcomes.append(str(key.version))
        else:
            outcomes.append("AMENDED_VERSION_UNKNOWN" if contents else "AMENDED_SALE_UNKNOWN")
    return outcomes


@given(st.lists(st.lists(KEYS, max_size=8), max_size=4))
def test_requests_are_decided_as_their_sales_one_after_the_other(requests: list[list[SaleKey]]) -> None:
    model: dict[str, list[bytes]] = {}
    stored: dict[str, list[StoredVersion]] = {}
    for number, keys in enumerate(requests):
        before = {order: len(contents) for order, contents in model.items()}
        expected = one_by_one(model, keys)
        decided = decide(keys, range(len(keys)), stored)
        outcomes = {row: reason for row, (reason, _) in decided.refused.items()}
        outcomes |= {row: str(keys[row].version) for row in (*decided.fresh, *decided.same, *decided.stored)}
        assert [outcomes[row] for row in range(len(keys))] == expected
        # What was stored before has its place, and what repeats a new sale of the request names its row.
        for row, each in decided.stored.items():
            assert (each.version, each.digest) == (keys[row].version, keys[row].digest)
            assert each.version <= before[keys[row].order_number]
        for row, first in decided.same.items():
            assert first in decided.fresh
            assert (first < row, keys[first]) == (True, keys[row])
        for row in decided.fresh:
            key = keys[row]
            stored.setdefault(key.order_number, []).append(StoredVersion(key.version, key.digest, 1, number, row))
        assert {order: len(each) for order, each in stored.items()} == {o: len(c) for o, c in model.items() if c}
