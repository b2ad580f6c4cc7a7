"""Declarations of another system (synthetic Korean ones, with labels) go through the whole of Luxor."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from luxor.consignment.v1 import consignment_pb2 as pb
from tests.support.flow import Flow, local_system

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "customs_declarations" / "valid.csv"
BATCH = 500
MODES = {"10": pb.TRANSPORT_MODE_SEA, "40": pb.TRANSPORT_MODE_AIR}

pytestmark = pytest.mark.skipif(
    not DATA.exists(), reason="the declarations (customs_declarations/valid.csv) are not here"
)


def whole(text: str, scale: int) -> int:
    """Read a decimal as a whole number of `scale` parts, half up."""
    return int((Decimal(text) * scale).quantize(Decimal(1), ROUND_HALF_UP))


def consignments() -> Iterator[pb.Consignment]:
    """Turn each declaration into a consignment bound for Germany and Australia in turn, its price in KRW.

    What the data lacks and a filing needs is made up: the service, addresses, the description, the master document.
    """
    with DATA.open(encoding="utf-8", newline="") as file:
        for place, row in enumerate(csv.DictReader(file)):
            made = pb.Consignment(
                local_reference=row["Declaration ID"],
                nature=pb.NATURE_SALE,
                gross_mass_mg=max(1, whole(row["Net Mass"], 1_000_000)),
                dispatch_country=row["Country of Departure"],
                destination_country="AU" if place % 2 else "DE",
            )
            made.transport.mode = MODES.get(row["Mode of Transport"], pb.TRANSPORT_MODE_POST)
            made.transport.service = pb.TRANSPORT_SERVICE_EXPRESS if row["Courier ID"] else pb.TRANSPORT_SERVICE_CARGO
            made.transport.conveyance_reference = f"KE{place % 50:04d}"
            made.house_document.number, made.house_document.type = f"H{row['Declaration ID']}", "N703"
            made.master_document.number, made.master_document.type = f"180{place % 50:08d}", "N741"
            made.consignor.name = row["Seller ID"] or "unknown seller"
            made.consignor.address.country = row["Country of Departure"]
            made.consignee.name = row["Importer ID"]
            made.consignee.address.street, made.consignee.address.city = "1 Example Street", "Exampleton"
            made.consignee.address.country = made.destination_country
            made.declarant.name = made.declarant.identifier = row["Declarant ID"]
            item = made.items.add(
                description=f"goods of subheading {row['HS6 Code']}",
                commodity_code=row["HS6 Code"],
                origin_country=row["Country of Origin"],
                net_mass_mg=max(1, whole(row["Net Mass"], 1_000_000)),
            )
            item.price.minor, item.price.currency = whole(row["Item Price"], 1), "KRW"
            yield made


async def test_declarations_of_another_system_are_accepted_or_refused_for_known_reasons_and_all_are_decided() -> None:
    rows = list(consignments())
    async with local_system() as system, Flow(system) as flow:
        await flow.run((rows[start : start + BATCH] for start in range(0, len(rows), BATCH)), name="real")
        reasons = Counter(
            error.reason for result in flow.filed.refused for error in result.errors if error.severity == 1
        )
        states = await flow.settled(len(flow.filed.accepted))
        by_destination = await flow.counted("destination")
        statuses = await flow.statuses(list(flow.filed.accepted.values()))
    assert len(rows) == 6878
    assert (len(flow.filed.accepted), len(flow.filed.refused)) == (6535, 343)
    # 328 codes left the system with HS 2022; ZZ is the origin 13 times and, 9 times, the departure, which two elements tell.
    assert dict(reasons) == {"COMMODITY_CODE_WITHDRAWN": 328, "COUNTRY_UNKNOWN": 13 + 2 * 9}
    assert sum(states.values()) == len(flow.filed.accepted)
    assert set(states) == {"HELD", "RELEASED"}
    assert sum(by_destination.values()) == len(flow.filed.accepted)
    # Nothing is unvalued for want of a rate: both destinations' books know the won.
    assert {each.debt.currency for each in statuses} == {"EUR", "AUD"}
