"""Adjustments, what is kept of an assessment, and accounts of charges, over real PostgreSQL."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from libs.columns import Ints, Strings, Table, schema_of
from libs.columns.stored import InputError, decompressed
from libs.store.database import Database
from libs.store.tables.inputs import BatchPlace
from luxor.common.v1 import common_pb2
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.revenue.v1 import revenue_pb2 as pb
from luxor.revenue.v1.revenue_pb2_grpc import RevenueServiceStub
from services.revenue.__main__ import assemble
from services.revenue.assessment.batch import ActiveLaw, Batch, ReassessedBatch
from services.revenue.assessment.correction import apply_corrections
from services.revenue.assessment.inputs import CHILD_COLUMNS, ROW_COLUMNS, unpack_input
from services.revenue.commands.assess import Assessments
from services.revenue.law.assess.assessment import assess
from services.revenue.law.assess.securities import EVERYONE, Opened, Room
from services.revenue.law.text.assessment_columns import answer_of
from services.revenue.store.assessments.inputs import Inputs
from services.revenue.store.ledger.accounts import Account, Accounts, Change
from services.revenue.store.ledger.securities import ActiveSecurities
from tests.revenue.bundles import ALONE, AREA_OF, Parcel, bundling, table_of
from tests.revenue.law.batches import filings
from tests.revenue.law.guaranteed_filings import Filing, answer_to
from tests.revenue.law.lawbooks import shipped
from tests.revenue.law.oracle_charges import Consignment as Filed
from tests.revenue.law.oracle_charges import Item
from tests.revenue.reassessment import again
from tests.revenue.service_client import accepted
from tests.support.services import Running, running

SECONDS = 10.0
PROGRAM = bundling()
LAW = Path(__file__).resolve().parents[3] / "services" / "revenue" / "law"


@pytest_asyncio.fixture
async def house(database_url: str) -> AsyncIterator[Running]:
    async with running("revenue", assemble, database_url) as service:
        yield service


@pytest_asyncio.fixture
async def revenue(database: Database) -> Database:
    return database


def adjustment(mrns: list[str], version: int, items: list[dict[int, dict[str, object]]]) -> ConsignmentColumns:
    """Ask for corrections: per consignment the corrected values by item number."""
    messages = []
    for told in items:
        message = Consignment()
        for number, values in told.items():
            goods = message.items.add(number=number)
            if "code" in values:
                goods.commodity_code = str(values["code"])
            if "price" in values:
                goods.price.minor = int(str(values["price"]))
                goods.price.currency = str(values.get("currency", "EUR"))
        messages.append(message)
    table = Table.from_messages(messages, ConsignmentColumns, Consignment)
    return table.with_columns({"mrn": Strings.of(mrns), "version": Ints.constant(version, len(mrns))}).encode(
        ConsignmentColumns
    )


def asked(columns: ConsignmentColumns, *versions: int) -> pb.AssessConsignmentsRequest:
    request = pb.AssessConsignmentsRequest(purpose=pb.PURPOSE_ADJUSTMENT, consignments=columns)
    told = Table.of(ConsignmentColumns, len(versions), {"version": Ints.of(list(versions))}).encode(ConsignmentColumns)
    request.filing_versions.CopyFrom(told.version)
    return request


async def test_an_adjustment_corrects_items_of_what_was_filed_and_keeps_its_first_answer(house: Running) -> None:
    service = RevenueServiceStub(await house.channel("service", "clearance"))
    day = date(2026, 8, 3)
    batch = [
        Filed("DE", day, [Item(5_000, code="620630"), Item(1_000, code="851830")]),
        Filed("DE", day, [Item(2_000, code="620630")]),
    ]
    filed = accepted(batch)
    first = Table.decode((await service.AssessConsignments(filed, timeout=SECONDS)).assessments)
    mrns = list(Table.decode(filed.consignments).strings("mrn").tolist())
    # What is asked for is what a filing like this would owe.
    whole = [
        Filed("DE", day, [Item(9_000, code="620630"), Item(1_000, code="851830")]),
        Filed("DE", day, [Item(2_000, code="620630"), Item(3_000, code="950300")]),
    ]
    expected = Table.decode((await service.AssessConsignments(accepted(whole, first=50), timeout=SECONDS)).assessments)
    unknown = adjustment(
        ["26DE0000000000000A", *mrns],
        7,
        [{1: {"price": 1}}, {1: {"price": 9_000}}, {2: {"price": 3_000, "code": "950300"}}],
    )
    answer = Table.decode((await service.AssessConsignments(asked(unknown, 1, 1, 1), timeout=SECONDS)).assessments)
    assert answer.strings("reason").tolist() == ["NOT_ASSESSED", "", ""]
    for name in ("duty", "tax", "fee", "intrinsic_value", "customs_value"):
        assert answer.ints(name).tolist() == [None, *expected.ints(name).tolist()], name
    assert answer.ints("tax").tolist()[1:] != first.ints("tax").tolist()
    assert answer.ints("generation").tolist() == [None, 0, 0]

    # The same adjustment keeps its answer; a later one begins from what was filed.
    async def references() -> list[tuple[object, ...]]:
        async with house.service.database.connection() as reader:
            found = await reader.raw.fetch(
                'select mrn, day, batch, "row" from all_assessments where purpose = $1 order by mrn, version',
                pb.PURPOSE_ADJUSTMENT,
            )
        return [tuple(each) for each in found]

    before = await references()
    same_again = Table.decode((await service.AssessConsignments(asked(unknown, 1, 1, 1), timeout=SECONDS)).assessments)
    assert same_again.ints("tax").tolist() == answer.ints("tax").tolist()
    assert await references() == before
    nothing = adjustment(mrns, 8, [{}, {}])
    same = Table.decode((await service.AssessConsignments(asked(nothing, 1, 1), timeout=SECONDS)).assessments)
    assert same.ints("tax").tolist() == first.ints("tax").tolist()
    older = Table.decode((await service.AssessConsignments(asked(nothing, 2, 2), timeout=SECONDS)).assessments)
    assert older.strings("reason").tolist() == ["NOT_ASSESSED"] * 2


async def test_other_corrections_under_a_version_that_was_used_before_have_their_own_answer(house: Running) -> None:
    """Clearance's store was set back: it numbers its states as before, and an officer enters something else."""
    service = RevenueServiceStub(await house.channel("service", "clearance"))
    filed = accepted([Filed("DE", date(2026, 8, 3), [Item(5_000, code="620630")])] * 3)
    await service.AssessConsignments(filed, timeout=SECONDS)
    mrns = list(Table.decode(filed.consignments).strings("mrn").tolist())

    async def taxes(version: int, **prices: int) -> dict[str, int | None]:
        chosen = [mrns["abc".index(name)] for name in prices]
        columns = adjustment(chosen, version, [{1: {"price": price}} for price in prices.values()])
        answer = await service.AssessConsignments(asked(columns, *[1] * len(chosen)), timeout=SECONDS)
        return dict(zip(prices, Table.decode(answer.assessments).ints("tax").tolist(), strict=True))

    lost = await taxes(6, a=9_000, b=9_000)
    assert lost == {"a": 1_767, "b": 1_767}
    # One is entered as before, one otherwise, one for the first time.
    entered = await taxes(6, a=9_000, b=20_000, c=9_000)
    expected = await taxes(7, a=9_000, b=20_000, c=9_000)
    assert entered == expected
    assert entered["b"] != lost["b"]
    async with house.service.database.connection() as reader:
        look = 'select mrn, day, batch, "row" from all_assessments where purpose = $1 and version = 6 order by mrn'
        first = await reader.raw.fetch(look, pb.PURPOSE_ADJUSTMENT)
    # What counts by now is what is asked again, alone or together, and nothing is stored of it anew.
    assert await taxes(6, c=9_000, b=20_000, a=9_000) == entered
    assert await taxes(6, b=20_000) == {"b": entered["b"]}
    async with house.service.database.connection() as reader:
        assert await reader.raw.fetch(look, pb.PURPOSE_ADJUSTMENT) == first
    # What is in force is what the comparison of the ledger reads.
    (found,) = await Inputs(house.service.database).find([mrns[1]], [6], purpose=pb.PURPOSE_ADJUSTMENT, answers=True)
    assert found.answers is not None
    assert found.answers.ints("tax").tolist() == [entered["b"]]
    assert found.input.table.child("items").ints("price_minor").tolist() == [20_000]
    # Also beside a correction that has no figures.
    unassessed = adjustment(mrns[:2], 8, [{1: {"currency": "KPW", "price": 20_000}}, {1: {"price": 9_000}}])
    for _ in range(2):
        answer = Table.decode((await service.AssessConsignments(asked(unassessed, 1, 1), timeout=SECONDS)).assessments)
        assert answer.strings("reason").present.tolist() == [True, False]
        assert answer.ints("tax").tolist()[1] == 1_767


async def test_two_officers_corrections_under_one_version_at_the_same_time_have_each_its_own_answer(
    house: Running,
) -> None:
    service = RevenueServiceStub(await house.channel("service", "clearance"))
    filed = accepted([Filed("DE", date(2026, 8, 3), [Item(5_000, code="620630")])] * 4)
    await service.AssessConsignments(filed, timeout=SECONDS)
    mrns = list(Table.decode(filed.consignments).strings("mrn").tolist())

    async def ask(price: int, order: int) -> list[int | None]:
        columns = adjustment(mrns[::order], 6, [{1: {"price": price}}] * len(mrns))
        answer = await service.AssessConsignments(asked(columns, *[1] * len(mrns)), timeout=SECONDS)
        return Table.decode(answer.assessments).ints("tax").tolist()

    prices = [9_000, 10_000] * 6
    answers = await asyncio.gather(*(ask(price, 1 if place % 3 else -1) for place, price in enumerate(prices)))
    assert answers == [[(price + 300) * 19 // 100] * len(mrns) for price in prices]


def test_a_list_that_is_told_takes_the_place_of_what_was_filed_and_one_that_is_not_leaves_it() -> None:
    def goods(**procedures: list[str]) -> Table:
        message = Consignment()
        for number, told in procedures.items():
            message.items.add(number=int(number[1:]), additional_procedures=told)
        return Table.from_messages([message], ConsignmentColumns, Consignment)

    changed = apply_corrections(goods(n1=["C07"], n2=["C08", "F48"]), goods(n2=["C07"], n3=["E02"]), np.array([2]))
    lists = changed.child("items").ragged("additional_procedures")
    assert isinstance(lists.values, Strings)
    assert [lists.values.tolist()[lists.span(item)] for item in range(len(lists))] == [["C07"], ["C07"], ["E02"]]


async def test_an_adjustment_is_judged_by_the_bundle_as_it_stood_last(revenue: Database) -> None:
    in_force, store = ActiveLaw(PROGRAM), Assessments(revenue)
    pair = [Parcel(number, AREA_OF["order"], 9_000, order="O1") for number in range(2)]
    for each in pair:
        table = table_of([each])
        await store.assess(Batch(in_force, table, table.encode(ConsignmentColumns)))
    await again(revenue)
    (found,) = await store.inputs.find([pair[0].mrn], [1])
    columns = adjustment([pair[0].mrn], 5, [{1: {"price": 4_000}}])
    table = apply_corrections(found.input.table, Table.decode(columns), np.array([5]))
    answer = ReassessedBatch(in_force, table, found.input.register, found.input.aggregates).answer()
    # 40.00 with the other's 90.00 keeps the limit of 150.00; 70.00 does not.
    assert answer.ints("duty").tolist() == [0]
    dearer = apply_corrections(
        found.input.table, Table.decode(adjustment([pair[0].mrn], 6, [{1: {"price": 7_000}}])), np.array([6])
    )
    assert ReassessedBatch(in_force, dearer, found.input.register, found.input.aggregates).answer().ints(
        "duty"
    ).tolist() == [700]


async def test_what_is_kept_reads_as_it_was_and_holds_the_fresh_rows_alone(revenue: Database) -> None:
    store, inputs = Assessments(revenue), Inputs(revenue).batches
    parcels = [Parcel(number, ALONE, 1_000 + number, name=f"Person {number}") for number in range(6)]

    async def file(part: list[Parcel]) -> None:
        table = table_of(part)
        await store.assess(Batch(ActiveLaw(PROGRAM), table, table.encode(ConsignmentColumns)))

    await file(parcels[:4])
    await file(parcels)
    stored = await inputs.read(BatchPlace(0, 0), 2**31 - 1, answers=True)
    assert [each.count for each in stored] == [4, 2]
    assert await inputs.count(0, 2**31 - 1, pb.PURPOSE_CLEARANCE) == 6
    first, second = (each.unpack() for each in stored)
    assert [*first.table.strings("mrn").tolist(), *second.table.strings("mrn").tolist()] == [
        each.mrn for each in parcels
    ]
    assert second.rows.tolist() == [4, 5]
    assert stored[1].answered(second).ints("intrinsic_value").tolist() == [1_004, 1_005]
    assert b"Person" not in decompressed(stored[0].columns)
    with pytest.raises(InputError, match="cannot be read"):
        unpack_input(stored[0].columns[:-9], stored[0].facts)


def test_all_that_the_law_reads_is_kept() -> None:
    schema = schema_of(ConsignmentColumns)
    rows = set(schema.columns)
    items = set(schema.children["items"].columns)
    text = "\n".join(file.read_text(encoding="utf-8") for file in LAW.rglob("*.py"))
    read = set(re.findall(r'\.(?:strings|ints|bools|ragged|child|column)\(\s*"([a-z_]+)"', text))
    read |= set(re.findall(r'\b(?:strings|ints|bools)\(f?"([a-z_]+)"', text))
    read |= set(re.findall(r'"((?:transport|consignor|consignee)_[a-z_]+|nature)"', text))
    kept = set(ROW_COLUMNS) | {name for names in CHILD_COLUMNS.values() for name in names} | set(CHILD_COLUMNS)
    assert len(read & rows) > 20
    assert (read & (rows | items)) - kept == set()


async def test_charges_stand_on_accounts_that_were_opened_or_on_who_owes_them(revenue: Database) -> None:
    accounts = Accounts(revenue)
    async with revenue.transaction() as tx:
        await accounts.put(
            tx,
            [
                Account("deferred:broker-1", "EUR", None, False, "Broker", ("shop",)),
                Account("deferred:broker-2", "EUR", None, True, "Closed", ("shop",)),
                Account("deferred:broker-3", "EUR", 0, False, "No room", ("shop",)),
                Account("deferred:broker-4", "EUR", None, False, "Another's", ("store",)),
                Account("guarantee:G1", "EUR", 1_000_000, False, "Broker", ("shop", "store")),
            ],
            "officer/ann",
        )
    following = ActiveSecurities(revenue, everyone=False)
    await following.look()
    shop = frozenset({"shop"})
    assert following.securities.opened == {
        "deferred:broker-1": Opened(shop),
        "deferred:broker-2": Opened(shop, usable=False),
        "deferred:broker-3": Opened(shop, usable=False, room=Room("EUR", 0)),
        "deferred:broker-4": Opened(frozenset({"store"})),
        "guarantee:G1": Opened(frozenset({"shop", "store"}), room=Room("EUR", 1_000_000)),
    }
    told = [
        Filing(declarant="broker-1"), Filing(declarant="broker-2"), Filing(declarant="broker-3", guarantees=["G1"]),
        Filing(declarant="broker-1", guarantees=["G1"]), Filing(guarantees=["G2"]), Filing(declarant="broker-4"),
    ]  # fmt: skip
    owners = [each.declarant or each.filer for each in told]
    for securities, charges, rows in (
        (
            following.securities,
            ["deferred:broker-1"] * 2 + [f"border:{ALONE}", "declarant:broker-2"] + ["guarantee:G1"] * 2
            + ["deferred:broker-1"] * 2 + [f"border:{ALONE}", "declarant:shop"] + [f"border:{ALONE}", "declarant:broker-4"],
            ["deferred:broker-1", "", "guarantee:G1", "deferred:broker-1", "", ""],
        ),
        (
            EVERYONE,
            [f"deferred:{each}" for each in owners for _ in range(2)],
            [f"deferred:{each}" for each in owners],
        ),
    ):  # fmt: skip
        answer = answer_to(securities, *told)
        assert answer.child("charges").strings("account").tolist() == charges
        assert answer.strings("deferred_account").tolist() == rows
    async with revenue.transaction() as tx:
        await accounts.change(tx, [Change("deferred:broker-1", filers=())], "officer/ann")
    await following.look()
    assert answer_to(following.securities, told[0]).strings("deferred_account").tolist() == [""]


def test_what_a_vendor_or_carrier_collects_stands_on_the_number_it_is_collected_under() -> None:
    day = date(2026, 8, 3)
    batch = [
        Filed("DE", day, [Item(5_000, code="620630")], schemes=[("ioss", "IM2760000014")]),
        Filed("DE", day, [Item(5_000, code="620630")], schemes=[("ioss", "nonsense"), ("ioss", "IM2760000014")]),
        Filed("DE", day, [Item(5_000, code="620630")], schemes=[("ioss", "nonsense")]),
    ]
    answer = answer_of(assess(shipped(), filings(batch)), Strings.absent(3), Strings.of(["shop"] * 3), EVERYONE)
    charges = answer.child("charges")
    told = dict.fromkeys(zip(charges.ints("collector").tolist(), charges.strings("account").tolist(), strict=True))
    assert list(told) == [
        (common_pb2.COLLECTOR_CUSTOMS, "deferred:shop"),
        (common_pb2.COLLECTOR_VENDOR, "vendor:IM2760000014"),
    ]
    spans = answer.ragged("charges")
    assert "vendor:IM2760000014" in charges.strings("account").tolist()[spans.span(1)]
    assert set(charges.strings("account").tolist()[spans.span(2)]) == {"deferred:shop"}
