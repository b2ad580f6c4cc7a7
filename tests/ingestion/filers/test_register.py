"""What a representation entitles to, by each of its conditions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from libs.columns import Strings
from libs.customs.representation import Mandate
from services.ingestion.filers.register import OPEN_END, Declarants, Filer, Representative, TrustedStatus, mandates

DAY = 20_000
SHOP = Filer("shop", "Shop", ("DE1", "DE2"), representatives=(Representative("broker", DAY - 1, DAY + 1),))
BROKER = Filer("broker", "Broker", ("DE9",))
MANDATE = Mandate(frozenset({"DE1", "DE2"}), frozenset({"DE9"}))


def test_a_representation_holds_in_both_directions() -> None:
    assert mandates(BROKER, [SHOP], DAY) == {"shop": [MANDATE]}
    assert mandates(SHOP, [BROKER], DAY) == {"broker": [MANDATE]}


def test_each_may_represent_the_other() -> None:
    both = replace(BROKER, representatives=(Representative("shop", DAY, OPEN_END),))
    back = Mandate(MANDATE.representative, MANDATE.declarant)
    assert mandates(both, [SHOP], DAY) == {"shop": [MANDATE, back]}


@pytest.mark.parametrize(("day", "holds"), [(DAY - 2, False), (DAY - 1, True), (DAY + 1, True), (DAY + 2, False)])
def test_it_holds_from_its_first_to_its_last_day(day: int, holds: bool) -> None:
    assert bool(mandates(BROKER, [SHOP], day)) == holds


def test_who_is_not_registered_or_suspended_acts_for_nobody_else_and_a_suspended_owner_is_represented() -> None:
    assert mandates(None, [SHOP], DAY) == {}
    assert mandates(replace(BROKER, suspension_reason="fraud"), [SHOP], DAY) == {}
    assert mandates(BROKER, [], DAY) == {}
    assert mandates(BROKER, [replace(SHOP, suspension_reason="fraud")], DAY) == {"shop": [MANDATE]}
    assert mandates(Filer("other", "Other"), [SHOP, BROKER], DAY) == {}


@pytest.mark.parametrize(
    ("day", "last"), [(DAY - 2, None), (DAY - 1, DAY + 1), (DAY, DAY + 1), (DAY + 1, DAY + 1), (DAY + 2, None)]
)
def test_a_filer_is_trusted_from_the_first_to_the_last_day_of_its_status_unless_it_is_suspended(
    day: int, last: int | None
) -> None:
    trusted = replace(SHOP, trusted=TrustedStatus("AEOC 17", DAY - 1, DAY + 1))
    assert trusted.trusted_until(day) == last
    assert replace(trusted, suspension_reason="fraud").trusted_until(day) is None
    assert SHOP.trusted_until(day) is None


@pytest.mark.parametrize(
    ("declarant", "representative", "covers"),
    [
        ("DE1", "", True),
        ("DE2", "DE9", True),
        ("DE1", "DE8", False),
        ("DE1", "DE2", False),
        ("DE3", "DE9", False),
        ("DE9", "DE9", False),
        ("", "DE9", False),
        ("", "", False),
    ],
)
def test_a_mandate_covers_declarations_that_name_the_declarant_and_no_other_representative(
    declarant: str, representative: str, covers: bool
) -> None:
    assert MANDATE.covers(declarant, representative) == covers


STATUS = TrustedStatus("AEOC 17", DAY - 1, DAY + 5)


def test_a_registered_declarant_is_named_by_itself_and_by_its_representatives_on_their_days() -> None:
    sub, twin = Filer("sub", "Sub", ("DE7",)), Filer("twin", "Twin", ("DE2",))
    register = Declarants([SHOP, BROKER, sub])
    named = ["DE1", "DE2", "DE7", "DE8", ""]
    assert register.not_entrusted("shop", named, DAY) == {"DE7"}
    assert register.not_entrusted("broker", named, DAY) == {"DE7"}
    assert [register.not_entrusted("broker", ["DE1"], DAY + each) for each in (-2, -1, 1, 2)] == [
        {"DE1"},
        set(),
        set(),
        {"DE1"},
    ]
    assert register.not_entrusted("nobody", named, DAY) == {"DE1", "DE2", "DE7"}
    assert Declarants([SHOP, twin]).not_entrusted("twin", named, DAY) == {"DE1"}
    assert not Declarants()


def test_the_status_of_a_declarant_counts_for_its_own_filings_and_those_of_its_representatives() -> None:
    def until(filer: str, declarant: str, *entries: Filer) -> int | None:
        return Declarants(entries).trusted_until([filer], Strings.of([declarant]), DAY).tolist()[0]

    shop, broker = replace(SHOP, trusted=STATUS), replace(BROKER, trusted=replace(STATUS, to_day=DAY + 9))
    assert until("shop", "DE1", shop, BROKER) == DAY + 5
    assert until("broker", "DE1", shop, BROKER) == DAY + 5
    assert until("broker", "DE8", shop, BROKER) is None
    assert until("nobody", "DE1", shop, BROKER) is None
    assert until("broker", "DE1", shop, broker) == until("broker", "", shop, broker) == DAY + 9
    assert until("broker", "DE1", replace(shop, suspension_reason="fraud"), BROKER) is None
