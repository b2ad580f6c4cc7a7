"""In which roles a filer files parts, in which roles those stay that were joined, and of whom a consignment awaits one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from libs.columns import Table
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment, Order, Payment
from services.ingestion.filers.register import Filer, Representative
from services.ingestion.parts.parties import Parties
from tests.ingestion.part_client import CARRIER, PLATFORM, PROVIDER

DAY = 20_000
BAZAAR = Filer(
    "bazaar.example", "Bazaar", party_roles=(PLATFORM,), representatives=(Representative("agent", DAY - 2, DAY - 1),)
)
NAMING = Table.from_messages(
    [
        Consignment(order=Order(platform="bazaar.example"), payment=Payment(provider="bank")),
        Consignment(order=Order(platform="other.example")),
    ],
    ConsignmentColumns,
    Consignment,
)


@pytest.mark.parametrize(
    ("joined_day", "stays"), [(None, False), (DAY - 3, False), (DAY - 2, True), (DAY - 1, True), (DAY, False)]
)
def test_a_joined_part_stays_in_the_role_in_which_its_filer_acted_on_its_day(
    joined_day: int | None, stays: bool
) -> None:
    for entry in (BAZAAR, replace(BAZAAR, suspension_reason="Under investigation.")):
        parties = Parties([entry], DAY)
        assert parties.may_add("agent", PLATFORM, NAMING, 0, joined_day=joined_day) is stays
        assert not parties.may_add("agent", PLATFORM, NAMING, 1, joined_day=joined_day)
        assert not parties.may_add("agent", PROVIDER, NAMING, 0, joined_day=joined_day)


def test_a_suspended_party_files_nothing_and_its_joined_parts_stay() -> None:
    parties = Parties([Filer("bank", "Bank", party_roles=(PROVIDER,), suspension_reason="Under investigation.")], DAY)
    assert parties.roles_of("bank") == set()
    assert not parties.may_add("bank", PROVIDER, NAMING, 0)
    assert parties.may_add("bank", PROVIDER, NAMING, 0, joined_day=DAY - 1)
    assert not parties.may_add("stranger", PROVIDER, NAMING, 0, joined_day=DAY - 1)


ROLES = (PLATFORM, PROVIDER, CARRIER)
REGISTER = [
    BAZAAR,
    Filer("bank", "Bank", party_roles=(PROVIDER,), identifiers=("BIC-1",)),
    Filer("air", "Air", party_roles=(CARRIER,), identifiers=("AIR-1",)),
]


def stated(**values: str) -> Table:
    """Return a consignment that names all three parties; `values` replace what it states."""
    names = {
        "platform": "bazaar.example",
        "number": "O-1",
        "provider": "bank",
        "carrier": "AIR-1",
        "document": "H-1",
    } | values
    row = Consignment(carrier_identifier=names["carrier"])
    row.order.platform, row.order.number = names["platform"], names["number"]
    row.payment.provider, row.house_document.number = names["provider"], names["document"]
    return Table.from_messages([row], ConsignmentColumns, Consignment)


@pytest.mark.parametrize(
    ("values", "awaited"),
    [
        ({}, [(PLATFORM, "bazaar.example"), (PROVIDER, "bank"), (CARRIER, "air")]),
        # The order links the platform and the payment provider, the house document the carrier.
        ({"number": ""}, [(CARRIER, "air")]),
        ({"platform": ""}, [(CARRIER, "air")]),
        ({"document": ""}, [(PLATFORM, "bazaar.example"), (PROVIDER, "bank")]),
        # Identifiers are codes, ids are compared letter for letter, and the id of a carrier's certificate is none of its names.
        (
            {"provider": "bic-1", "carrier": "air-1"},
            [(PLATFORM, "bazaar.example"), (PROVIDER, "bank"), (CARRIER, "air")],
        ),
        ({"provider": "Bank", "platform": "Bazaar.Example"}, [(CARRIER, "air")]),
        ({"carrier": "air"}, [(PLATFORM, "bazaar.example"), (PROVIDER, "bank")]),
        ({"provider": "", "carrier": ""}, [(PLATFORM, "bazaar.example")]),
    ],
)
def test_a_consignment_awaits_the_parts_of_registered_parties_that_it_names_and_links(
    values: dict[str, str], awaited: list[tuple[int, str]]
) -> None:
    assert Parties(REGISTER, DAY).awaited(stated(**values), 0, ROLES) == awaited


def test_only_parties_of_the_missing_roles_that_are_not_suspended_are_awaited_and_all_of_one_name() -> None:
    parties = Parties(REGISTER, DAY)
    assert parties.awaited(stated(), 0, (PROVIDER,)) == [(PROVIDER, "bank")]
    assert parties.awaited(stated(), 0, ()) == []
    suspended = [replace(each, suspension_reason="Under investigation.") for each in REGISTER]
    assert Parties(suspended, DAY).awaited(stated(), 0, ROLES) == []
    second = Filer("air-2", "Air 2", party_roles=(CARRIER,), identifiers=("AIR-1",))
    assert Parties([*REGISTER, second], DAY).awaited(stated(), 0, (CARRIER,)) == [(CARRIER, "air"), (CARRIER, "air-2")]
    assert Parties([replace(REGISTER[1], party_roles=(PLATFORM,))], DAY).awaited(stated(), 0, ROLES) == []
