"""In which roles a filer files parts, and in which roles those stay that were joined."""

from __future__ import annotations

from dataclasses import replace

import pytest

from libs.columns import Table
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment, Order, Payment
from services.ingestion.filers.register import Filer, Representative
from services.ingestion.parts.parties import Parties
from tests.ingestion.part_client import PLATFORM, PROVIDER

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
