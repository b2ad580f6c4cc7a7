"""Controls of goods and licences in tests: toys (95) need a licence with a quantity, meat (02) an examination, plants (06) a certificate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from libs.columns import Table
from luxor.clearance.v1 import licences_pb2 as pb
from luxor.clearance.v1 import rights_pb2
from luxor.consignment.v1 import consignment_pb2
from services.clearance.goods_controls.law import GoodsLaw, read
from services.clearance.licences.licence import Licence
from services.clearance.licences.need import Need, needs_of
from services.clearance.store import Store
from tests.clearance.desk import DAY, Desk, filings, mrns

HOLDER: Final = "DE123456789012345"
"""The declarant of the filings of a desk."""
TEXT: Final = """
format: 1
name: tests
version: "1"
source: an example for tests
jurisdictions:
  - jurisdiction: EU
    areas: [DE, FR]
    controls:
      - {goods: ["95"], authority: toys, reason: TOY_LICENCE, licence: {type: C400}, days: 5, from: 2026-01-01, law: &law an example for tests}
      - {goods: ["0602"], authority: plants, reason: PLANT_CERTIFICATE, licence: {type: N851, write_off: false}, from: 2026-01-01, law: *law}
      - {goods: ["93"], reason: ARMS_LICENCE, licence: {type: C401, restored_on_return: true}, from: 2026-01-01, law: *law}
      - {goods: ["02", "0602"], authority: food, reason: FOOD_EXAMINED, control: {form: examination}, days: 3, from: 2026-01-01, law: *law}
      - {goods: ["30"], authority: food, reason: MEDICINE, control: {form: documents, text: Send the authorisation.}, from: 2026-01-01, law: *law}
      - {goods: ["97"], direction: export, reason: ART_LICENCE, licence: {type: C402}, from: 2026-01-01, law: *law}
"""
TOYS, PLANTS, ARMS, MEAT, MEDICINE, OTHERS = "950300", "060290", "930330", "020110", "300490", "620630"


def law(text: str = TEXT) -> GoodsLaw:
    """Read controls of goods."""
    return read(Path("tests.yaml"), text)


def goods(
    references: Sequence[str],
    code: str = TOYS,
    grams: int | Sequence[int] = 1_000,
    cites: Sequence[tuple[str, str]] = (("C400", "L1"),),
    *,
    version: int = 1,
    change: Callable[[int, consignment_pb2.Consignment], None] | None = None,
    **fields: Any,
) -> Table:
    """Make filings of one item each, with a code, a net mass each, and the documents that they cite."""

    def changed(number: int, row: consignment_pb2.Consignment) -> None:
        (item,) = row.items
        item.commodity_code = code
        item.net_mass_mg = 1_000 * (grams if isinstance(grams, int) else grams[number])
        for kind, reference in cites:
            item.supporting_documents.add(type=kind, reference=reference)
        if change is not None:
            change(number, row)

    return filings(references, version=version, change=changed, **fields)


def licence(number: str = "L1", grams: int | None = 10_000, **fields: Any) -> Licence:
    """Make a licence for toys of the agency `toys`; without `grams` its quantity is not limited."""
    made = Licence(
        authority="toys",
        type="C400",
        number=number,
        holder=HOLDER,
        jurisdiction="EU",
        from_day=DAY - 100,
        to_day=DAY + 100,
        goods=("9503",),
        quantity_millionths=None if grams is None else 1_000 * grams,
        unit="" if grams is None else "KGM",
        version=1,
        changed_at=1,
        changed_by="agency/toys",
    )
    return replace(made, **fields)


async def register(store: Store, *licences: Licence) -> None:
    """Put licences into the register."""
    async with store.database.transaction() as tx:
        await store.licences.put(tx, licences)


async def used(store: Store, number: str = "L1", authority: str = "toys", kind: str = "C400") -> tuple[int, int, int]:
    """Return what the register states as written off of a licence and the sum of its open uses, in grams; and how many uses it has."""
    async with store.database.connection() as reading:
        row = await reading.raw.fetchrow(
            "select l.written_off, (select coalesce(sum(quantity) filter (where restored_at is null), 0) from licence_use u "
            "where (u.authority, u.type, u.number) = (l.authority, l.type, l.number)) as summed, (select count(*) from licence_use u "
            "where (u.authority, u.type, u.number) = (l.authority, l.type, l.number)) as uses "
            "from licence l where (authority, type, number) = ($1, $2, $3)",
            authority,
            kind,
            number,
        )
    return row["written_off"] // 1_000, int(row["summed"]) // 1_000, row["uses"]


async def needs(desk: Desk, table: Table) -> list[list[Need]]:
    """Return the needs of filings as they are stored now."""
    return needs_of(await desk.states(mrns(table)))


def licence_message(number: str = "L1", **fields: Any) -> pb.Licence:
    """Make a licence for 10 kg of toys."""
    usual = {
        "type": "C400", "holder": HOLDER, "jurisdiction": "EU", "from_day": "2026-01-01", "to_day": "2099-12-31", "goods": ["9503"],
        "quantity_millionths": 10_000_000, "unit": "KGM",
    }  # fmt: skip
    return pb.Licence(number=number, **{name: value for name, value in (usual | fields).items() if value is not None})  # type: ignore[arg-type]


def application_message(number: str = "EU-17", **fields: Any) -> rights_pb2.RightsApplication:
    """Make an application of a rights holder for clothes of a brand."""
    usual = {
        "holder": "Hare Clothing", "rights": "Trade mark 1", "countries": ["DE"], "from_day": "2026-01-01", "to_day": "2099-12-31",
        "goods": ["62"], "words": ["Swift Hare"],
    }  # fmt: skip
    return rights_pb2.RightsApplication(number=number, **usual | fields)
