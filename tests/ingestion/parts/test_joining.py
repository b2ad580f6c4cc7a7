"""What parts add to a consignment, and what contradicts it: the expected values follow from the definition in docs/parts.md."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

from luxor.consignment.v1.consignment_pb2 import Consignment
from services.ingestion.parts.joining import CONTRADICTIONS_MAX, Contradiction, Part, acceptable, join
from tests.ingestion.consignments import clear, consignment, put


def paid(minor: int = 1999, payer: str = "Ada Example", currency: str = "EUR") -> Consignment:
    content = Consignment()
    content.payment.reference, content.payment.payer = "PAY-1", payer
    content.payment.amount.minor, content.payment.amount.currency = minor, currency
    return content


def test_a_part_adds_what_is_absent_and_changes_nothing_else() -> None:
    joined, (result,) = join(consignment(), "carrier", [Part("bank", paid())])
    expected = consignment()
    expected.payment.CopyFrom(paid().payment)
    assert joined == expected
    assert sorted(result.added) == [
        "payment.amount.currency",
        "payment.amount.minor",
        "payment.payer",
        "payment.reference",
    ]
    assert not result.contradictions


def test_a_different_value_stays_beside_that_of_the_consignment_with_who_stated_each() -> None:
    part = Consignment(gross_mass_mg=600_000)
    joined, (result,) = join(consignment(), "shop", [Part("air", part)])
    assert joined == consignment()
    assert result.contradictions == [Contradiction("gross_mass_mg", "500000", "600000", "shop")]
    assert not result.added


def test_two_parts_that_differ_contradict_each_other_in_the_order_of_filing() -> None:
    first, second = Part("bank", paid(payer="Ada Example")), Part("other", paid(payer="Bob Example"))
    joined, (one, two) = join(consignment(), "shop", [first, second])
    assert joined.payment.payer == "Ada Example"
    assert not one.contradictions
    assert two.contradictions == [Contradiction("payment.payer", "Ada Example", "Bob Example", "bank")]
    assert not two.added


def test_of_a_party_nothing_is_added_where_one_of_its_values_differs() -> None:
    part = Consignment()
    part.buyer.name, part.buyer.identifier = "Bob Example", "KR1"
    base = put(consignment(), "buyer.name", "Ada Example")
    joined, (result,) = join(base, "shop", [Part("bazaar", part)])
    assert not joined.buyer.identifier
    assert [each.path for each in result.contradictions] == ["buyer.name"]
    part.buyer.name = "ADA  EXAMPLE"
    joined, (result,) = join(base, "shop", [Part("bazaar", part)])
    assert (joined.buyer.name, joined.buyer.identifier) == ("Ada Example", "KR1")
    assert list(result.added) == ["buyer.identifier"]


def test_items_are_those_of_the_consignment_in_its_order() -> None:
    base = clear(consignment(), "items[0].gtin")
    part = Consignment()
    part.items.add(gtin="4006381333931", commodity_code="610000", number=7)
    joined, (result,) = join(base, "shop", [Part("post", part)])
    assert joined == consignment()
    assert list(result.added) == ["items.gtin"]
    assert result.contradictions == [Contradiction("items[0].commodity_code", "620630", "610000", "shop")]
    part.items.add(gtin="4006381333931")
    joined, (result,) = join(base, "shop", [Part("post", part)])
    assert joined == base
    assert result.contradictions == [Contradiction("items", "1 items", "2 items", "shop")]


def test_a_list_is_added_as_a_whole_or_compared() -> None:
    same, other = Consignment(), Consignment()
    same.packages.add(count=1, type="CT")
    other.packages.add(count=2, type="CT")
    assert not join(consignment(), "shop", [Part("air", same)])[1][0].contradictions
    (contradiction,) = join(consignment(), "shop", [Part("air", other)])[1][0].contradictions
    assert contradiction == Contradiction("packages", "1 entries", "1 entries", "shop")
    assert len(join(clear(consignment(), "packages"), "shop", [Part("air", other)])[0].packages) == 1


def test_a_payment_is_compared_with_what_is_to_be_paid() -> None:
    differs = [Contradiction("payment.amount", "1999 EUR", "2000 EUR", "shop")]
    assert join(consignment(), "shop", [Part("bank", paid(2000))])[1][0].contradictions == differs
    base = consignment()
    base.freight.minor, base.freight.currency = 1, "EUR"
    assert not join(base, "shop", [Part("bank", paid(2000))])[1][0].contradictions
    base.invoice_total.minor, base.invoice_total.currency = 1999, "EUR"
    assert join(base, "shop", [Part("bank", paid(2000))])[1][0].contradictions == differs


def test_a_payment_is_not_compared_with_what_is_not_known() -> None:
    several = put(put(consignment(), "order.part", 1), "order.parts", 2)
    unpriced = clear(consignment(), "items[0].price")
    # Of a split shipment the payment is for all shares.
    shares = put(consignment(), "split", True), put(consignment(), "previous_part_mrn", "26DE07329000001XR8")
    for base, part in (
        *((each, paid(2000)) for each in (several, unpriced, *shares)),
        (consignment(), paid(2000, currency="USD")),
    ):
        assert not join(base, "shop", [Part("bank", part)])[1][0].contradictions
    assert join(put(several, "order.parts", 1), "shop", [Part("bank", paid(2000))])[1][0].contradictions


def test_parts_of_different_elements_make_the_same_consignment_in_any_order() -> None:
    base = clear(clear(consignment(), "packages"), "order")
    transport, sale = Consignment(), Consignment()
    transport.packages.add(count=3, type="CT")
    sale.order.platform, sale.order.number = "bazaar.example", "O-1"
    parts = [Part("air", transport), Part("bazaar", sale), Part("bank", paid())]
    joined = [join(base, "shop", some)[0] for some in permutations(parts)]
    assert all(each == joined[0] for each in joined)


def test_contradictions_are_bounded() -> None:
    base, part = consignment(), Consignment()
    del base.items[:]
    for place in range(CONTRADICTIONS_MAX + 1):
        base.items.add(commodity_code="620630")
        part.items.add(commodity_code="610000" if place else "620630")
    assert len(join(base, "shop", [Part("post", part)])[1][0].contradictions) == CONTRADICTIONS_MAX
    part.items[0].commodity_code = "610000"
    assert len(join(base, "shop", [Part("post", part)])[1][0].contradictions) == CONTRADICTIONS_MAX


def accepted(names: Sequence[str]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Choose among parts: a price needs a nature and the reverse, as in a filing before the declaration, and "bad" is always refused."""

    def errors(places: Sequence[int]) -> dict[str, str]:
        some = {names[place] for place in places}
        lacking = {"price": "nature", "nature": "price"}
        found = {other: f"no {other}" for one, other in lacking.items() if one in some and other not in some}
        return found | ({"bad": "bad"} if "bad" in some else {})

    chosen, left_out = acceptable(len(names), errors)
    return [names[place] for place in chosen], [(names[place], some) for place, some in left_out.items()]


def test_a_refused_part_takes_nothing_from_parts_that_need_each_other() -> None:
    for names in (*permutations(("price", "nature", "bad", "mass")), *permutations(("price", "nature", "bad", "bad"))):
        others = [each for each in names if each != "bad"]
        assert accepted(names) == (others, [("bad", ["bad"])] * names.count("bad")), names
    for names in (*permutations(("price", "price", "mass")), *permutations(("price", "bad", "mass"))):
        chosen, left_out = accepted(names)
        assert (chosen, len(left_out)) == (["mass"], 2), names
    assert accepted(("price", "nature")) == (["price", "nature"], [])
