"""Keys: the same party in another writing is the same, and nothing of it can be read back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.columns.party_keys import name_keys, plain_all, street_keys
from libs.customs.parties import name_key, plain
from services.risk.elements.computed import Facts
from services.risk.elements.history_record import record_of
from services.risk.history import Hasher, KeyKind, Record
from tests.risk.filings import first_light, table
from tests.support.addresses import address_key

KEY = b"a deployment's key, 32 bytes....."
NOW = 1_795_600_000_000_000
texts = st.lists(
    st.text(st.characters(exclude_characters="\x1f\x1e", exclude_categories=["Cs", "Cc"]), max_size=30)
    | st.sampled_from(
        [
            *("Meadow Lane Trading Limited", "S.A.R.L. du Pont", "Hauptstraße 5", "12 Main Street", "Łódź sp. z o.o."),
            *(
                "Gesellschaft mit beschränkter Haftung X",
                "深圳市",
                "Å str",
                "Bahnhofstr. 1",
                "Private Co",
                "Flat 2 High Rd",
            ),
        ]
    ),
    max_size=6,
)


@given(texts)
def test_whole_columns_give_the_forms_that_single_texts_give(column: list[str]) -> None:
    assert [" ".join(each.split()) for each in plain_all(column)] == [plain(each) for each in column]
    assert name_keys(column) == [name_key(each) for each in column]
    assert street_keys(column) == [address_key(each, "", "", "").partition("|")[0] for each in column]


def record(changes: list[dict[str, Any]], key: bytes = KEY) -> Record:
    rows = table(changes)
    facts = Facts(rows, first_light().rates)
    counted = np.ones(len(changes), bool)
    return record_of(rows, facts, Hasher(key), NOW, counted=counted, thresholds={"DE": 15_000})


def address(street: str, postcode: str = "10969") -> dict[str, Any]:
    return {"consignee": {"address": {"street": street, "city": "Berlin", "postcode": postcode, "country": "DE"}}}


def test_a_party_written_otherwise_is_the_same() -> None:
    keys = record([address("Lindenstraße 12"), address("12, Lindenstr."), address("Lindenstrasse 13")]).keys
    addresses, consignees = keys[KeyKind.ADDRESS].tolist(), keys[KeyKind.CONSIGNEE].tolist()
    assert addresses[0] == addresses[1] != addresses[2]
    assert len(set(consignees)) == 1


def test_an_identifier_tells_who_it_is_whatever_the_name() -> None:
    identified = [
        {"consignee": {"name": name, "identifier": "P123456789012", "address": {"country": "DE", "city": city}}}
        for name, city in (("Erika Sommer", "Berlin"), ("E. Sommer", "Bonn"))
    ]
    consignees = record(identified).keys[KeyKind.CONSIGNEE]
    assert consignees[0] == consignees[1] != 0


def test_the_consignor_is_the_seller_where_no_seller_is_told() -> None:
    keys = record(
        [
            {},
            {"seller": {"name": "Lotus Field Trading Co", "address": {"country": "CN"}}},
            {"seller": {"name": "Another"}},
        ]
    ).keys
    sellers = keys[KeyKind.SELLER].tolist()
    assert sellers[0] == sellers[1] != sellers[2]


def test_an_address_without_a_street_is_unknown() -> None:
    assert record([{}]).keys[KeyKind.ADDRESS].tolist() == [0]


def test_another_deployment_has_other_keys() -> None:
    one, other = record([{}]).keys, record([{}], b"another deployment's key").keys
    told = one != 0
    assert (one[told] != other[told]).all()


def test_kinds_never_meet() -> None:
    hasher = Hasher(KEY)
    assert hasher.hash(["same"], "seller")[0] != hasher.hash(["same"], "platform")[0]
    assert hasher.hash(["", "x"], "seller").tolist()[0] == 0


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 65])
def test_a_weak_key_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match="16 to 64"):
        Hasher(key)


def test_a_record_holds_no_text() -> None:
    content = record([address("Lindenstraße 12")]).to_bytes()
    for text in (b"Erika", b"Sommer", b"Linden", b"10969", b"Berlin", b"velumart"):
        assert text.lower() not in content.lower()


def test_a_record_has_goods_prices_and_what_is_under_the_threshold() -> None:
    item = {"origin_country": "CN", "price": {"minor": 1_900, "currency": "EUR"}}
    made = record(
        [{"items": [item]}, {"items": [{"price": {"minor": 15_000, "currency": "EUR"}}]}, {"destination_country": "US"}]
    )
    assert made.value.tolist() == [1_900, 15_000, 1_900]
    assert made.low.tolist() == [True, False, False]
    assert made.goods.tolist() == [610910 * 1_024 + 2 * 26 + 13, -1, -1]
    assert made.price.tolist()[0] == 1_900 * 1_000_000 // 220_000
    assert made.owner.tolist() == [0, 1, 2]
