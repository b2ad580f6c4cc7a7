"""Versions of sales: what is decided on a request at once is what is decided on its sales one after the other."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.revenue.sales.documents import Document, content_digest, packed_documents, unpacked_documents
from services.revenue.sales.versions import SaleKey, StoredVersion, decide

DOCUMENTS = [Document("ZPOST", "1"), Document("ZPOST", "2"), Document("AIRCO", "1")]
KEYS = st.builds(
    SaleKey,
    st.sampled_from("abc"),
    st.integers(0, 3),
    st.sampled_from((b"x", b"y", b"z")),
    st.sets(st.sampled_from(DOCUMENTS), max_size=2).map(lambda found: tuple(sorted(found))),
)


def content(key: SaleKey) -> SaleKey:
    """Return a key with a digest of its documents as well, as sales have it."""
    return replace(key, digest=content_digest(key.digest, key.documents))


def one_by_one(stored: dict[str, list[SaleKey]], keys: list[SaleKey], expired: set[str]) -> list[str]:
    """Decide by the definition: `stored` has the versions of each order number in their order; return version or reason of each.

    A document belongs to the order whose current version names it and which has not expired; who amends an order opens it again.
    """
    outcomes = []
    for key in keys:
        versions = stored.get(key.order_number, [])
        others = (each for order, each in stored.items() if order not in {*expired, key.order_number})
        if key.replaced < len(versions):
            same = versions[key.replaced].digest == key.digest
            outcomes.append(str(key.version) if same else "VERSION_REPLACED" if key.replaced else "ORDER_REUSED")
        elif key.replaced > len(versions):
            outcomes.append("AMENDED_VERSION_UNKNOWN" if versions else "AMENDED_SALE_UNKNOWN")
        elif any(set(each[-1].documents) & set(key.documents) for each in others):
            outcomes.append("HOUSE_DOCUMENT_REUSED")
        else:
            stored.setdefault(key.order_number, []).append(key)
            expired.discard(key.order_number)
            outcomes.append(str(key.version))
    return outcomes


def holders_in(model: dict[str, list[SaleKey]], expired: set[str]) -> dict[Document, str]:
    return {each: order for order, keys in model.items() if order not in expired for each in keys[-1].documents}


@given(st.lists(st.tuples(st.lists(KEYS.map(content), max_size=8), st.sets(st.sampled_from("abc"))), max_size=4))
def test_requests_are_decided_as_their_sales_one_after_the_other(
    requests: list[tuple[list[SaleKey], set[str]]],
) -> None:
    model: dict[str, list[SaleKey]] = {}
    stored: dict[str, list[StoredVersion]] = {}
    expired: set[str] = set()
    for number, (keys, expiring) in enumerate(requests):
        # Before the request some orders expire.
        expired |= expiring & set(model)
        before = {order: len(versions) for order, versions in model.items()}
        holders = holders_in(model, expired)
        expected = one_by_one(model, keys, expired)
        decided = decide(keys, range(len(keys)), stored, holders)
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
        # A refusal names a document of the sale, and another order.
        assert list(decided.reused) == [row for row, each in enumerate(expected) if each == "HOUSE_DOCUMENT_REUSED"]
        for row, (document, owner) in decided.reused.items():
            assert document in keys[row].documents
            assert owner != keys[row].order_number
            assert owner in model
        for row in decided.fresh:
            key = keys[row]
            version = StoredVersion(key.version, key.digest, 1, number, row, key.documents)
            stored.setdefault(key.order_number, []).append(version)
        assert {order: len(each) for order, each in stored.items()} == {o: len(c) for o, c in model.items() if c}


@given(st.lists(st.sampled_from(DOCUMENTS), max_size=4))
def test_documents_are_stored_in_one_form_whatever_their_order(named: list[Document]) -> None:
    text = packed_documents(named)
    assert unpacked_documents(text.splitlines()) == tuple(sorted(set(named)))
    assert content_digest(b"x", named) == content_digest(b"x", sorted(set(named)))
    assert (content_digest(b"x", named) == b"x") == (not named)
