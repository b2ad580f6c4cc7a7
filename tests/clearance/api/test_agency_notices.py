"""Partner agencies are notified of what concerns them, each of its own alone, and read in notices what their work list shows them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from luxor.clearance.v1 import carriers_pb2, control_pb2, licence_pb2
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.carriers_pb2_grpc import CarrierServiceStub
from luxor.consignment.v1 import consignment_pb2
from services.clearance.commands.end_deadlines import EndDeadlines
from services.clearance.goods_controls.law import GoodsLaw
from tests.clearance.controls import (
    DAY_MICROS,
    EXAMINATION,
    FILER,
    WITHDRAWN,
    answer,
    answered,
    arrive,
    concluded,
    conclusion,
    listed,
    notices,
    now,
    order,
    ordered,
)
from tests.clearance.desk import MASTER, mrns
from tests.clearance.disposals import INVALIDATED, SEIZED, disposal, dispose
from tests.clearance.goods import MEAT, OTHERS, goods, law, licence, register
from tests.clearance.loading import INFORMATION, NONE, parameters, recommending
from tests.clearance.service_client import SECONDS, House, refused_with


async def pulled(house: House, agency: str = "food", **request: Any) -> pb.PullNoticesResponse:
    await house.desk.told()
    stub = await house.stub("agency", agency)
    found: pb.PullNoticesResponse = await stub.PullNotices(pb.PullNoticesRequest(**request), timeout=SECONDS)
    return found


async def kinds(house: House, agency: str = "food") -> list[str]:
    found = await pulled(house, agency)
    return [pb.NoticeKind.Name(each.kind).removeprefix("NOTICE_KIND_") for each in found.notices]


async def reverse(house: House) -> None:
    request = carriers_pb2.ReverseArrivalsRequest(request_id="v1")
    request.arrivals.add(master_document_number=MASTER)
    await CarrierServiceStub(await house.service.channel("carrier", "wings")).ReverseArrivals(request, timeout=SECONDS)


async def due(house: House, at: int) -> None:
    """Carry out what is due at an instant."""
    end = EndDeadlines(house.desk.store)
    async with house.desk.store.database.connection() as reading:
        mrns = await end.due(reading, at, 100)
    await end.run(mrns, at, at, "")


async def test_an_agency_is_notified_of_order_arrival_reminder_deadline_and_withdrawal_of_its_control(
    house: House,
) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    begin = await now(house)
    deadline = begin + 4 * DAY_MICROS
    # Customs has one of its own, and another agency has one: neither concerns the first.
    await ordered(
        house,
        order(mrn, EXAMINATION, authority="food", reason="FOOD_EXAMINED", due_at=deadline),
        request_id="o1",
    )
    await ordered(house, order(mrn, EXAMINATION, authority="toys", reason="TOY_EXAMINED"), request_id="o2")
    await ordered(house, order(mrn), request_id="o3")
    await arrive(house)
    await reverse(house)
    await due(house, begin + 2 * DAY_MICROS)
    assert await kinds(house) == ["CONTROL_ORDERED", "ARRIVED", "ARRIVAL_REVERSED"], (
        "three quarters of the time are not over"
    )
    await due(house, begin + 3 * DAY_MICROS + DAY_MICROS // 10)
    await due(house, deadline + 1)
    await concluded(house, conclusion(mrn, 1, WITHDRAWN))
    page = await pulled(house, language="en")
    assert [each.title for each in page.notices] == [
        "Control ordered for your agency", "Goods arrived for your control", "Arrival reversed", "Control due soon", "Control overdue",
        "Control withdrawn",
    ]  # fmt: skip
    assert {(each.mrn, each.house_document_number, each.master_document_number) for each in page.notices} == {
        (mrn, "H-GREEN-1", MASTER)
    }
    ours = [control for each in page.notices for control in each.controls]
    assert {(each.authority, each.reason) for each in ours} == {("food", "FOOD_EXAMINED")}
    assert page.notices[4].time.ToMicroseconds() == ours[2].overdue_at.ToMicroseconds() == deadline + 1
    assert await kinds(house, "toys") == ["CONTROL_ORDERED", "ARRIVED", "ARRIVAL_REVERSED"]
    assert await kinds(house, "police") == []
    # Neither filer nor carrier learns of the deadline of an examination.
    for role, ident in (("filer", "shop"), ("carrier", "wings")):
        for each in await notices(house, role, ident):
            assert pb.NoticeKind.Name(each.kind) != "NOTICE_KIND_CONTROL_REMINDED"
            assert not any(
                c.HasField("due_at") or c.HasField("remind_at") for c in each.controls if c.form == EXAMINATION
            )
    # What was read is not read again, and it is the same from the first on.
    assert not (await pulled(house, cursor=page.next_cursor)).notices
    assert (await pulled(house, language="en")).notices == page.notices


async def test_an_order_states_when_the_agency_is_reminded_and_customs_alone_is_not(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    begin = await now(house)
    times = {"remind_at": begin + DAY_MICROS, "due_at": begin + 2 * DAY_MICROS}
    (refused,) = await ordered(house, order(mrn, EXAMINATION, **times), request_id="o1")
    assert refused.error.reason == "CONTROL_DUE_OUT_OF_BOUNDS"
    (done,) = await ordered(house, order(mrn, EXAMINATION, authority="food", **times), request_id="o2")
    assert not done.HasField("error")
    await due(house, begin + DAY_MICROS - 1)
    assert await kinds(house) == ["CONTROL_ORDERED"]
    await due(house, begin + DAY_MICROS)
    assert await kinds(house) == ["CONTROL_ORDERED", "CONTROL_REMINDED"]


async def test_an_agency_reads_answers_to_its_requests_without_who_gave_them(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    await ordered(house, order(mrn, authority="food"))
    await answered(house, answer(mrn, text="It is cheese."))
    await concluded(house, conclusion(mrn), role="agency", by="food")
    found = (await pulled(house)).notices
    assert [each.kind for each in found] == [
        pb.NOTICE_KIND_CONTROL_ORDERED,
        pb.NOTICE_KIND_CONTROL_ANSWERED,
        pb.NOTICE_KIND_CONTROL_CONCLUDED,
    ]
    assert (found[1].controls[0].answer, found[1].controls[0].answered_by) == ("It is cheese.", "")
    # The rest is what its work list has.
    for each in found:
        empty = (
            "local_reference",
            "reasons",
            "payable_minor",
            "currency",
            "debt_account",
            "check_code",
            "pre_loading",
            "debt_status",
        )
        assert not [field.name for field, _ in each.ListFields() if field.name in empty]


@pytest.mark.parametrize("kind", [SEIZED, INVALIDATED])
async def test_the_end_of_the_goods_ends_the_control_of_the_agency(house: House, kind: int) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    await ordered(house, order(mrn, EXAMINATION, authority="food"))
    if kind == SEIZED:
        await arrive(house)
    await dispose(house, disposal(mrn, kind))
    last = (await pulled(house, language="en")).notices[-1]
    assert (last.title, last.controls[0].result) == (
        "Control ended, nothing left to do",
        control_pb2.CONTROL_RESULT_ENDED,
    )


def toys(house: House) -> GoodsLaw:
    house.desk.decide.goods = law()
    return house.desk.decide.goods


async def test_the_authority_is_notified_of_uses_of_its_licences_and_reads_nothing_else_of_the_goods(
    house: House,
) -> None:
    toys(house)
    await register(house.desk.store, licence(grams=1_500))
    first, second = goods(["GREEN-1"]), goods(["GREEN-2"])
    await house.desk.consume(first)
    await house.desk.consume(second)
    (used,), (short,) = mrns(first), mrns(second)
    found = (await pulled(house, "toys", language="en")).notices
    assert [(each.mrn, each.title) for each in found] == [
        (used, "Licence used"),
        (short, "Less left of a licence than needed"),
        (short, "Request of your agency sent"),
    ]
    assert "C400 L1 (item 1): 1 KGM" in found[0].text
    assert found[0].licences[0].outcome == licence_pb2.LICENCE_OUTCOME_WRITTEN_OFF
    # It was never asked to control the first: it reads what the list of uses has.
    shown = {field.name for field, _ in found[0].ListFields()}
    assert shown == {"mrn", "kind", "time", "title", "text", "language", "licences"}
    assert found[2].house_document_number == "H-GREEN-2"
    assert await kinds(house, "food") == []
    # What happens to the goods afterwards changes no licence, until they end without a release.
    await arrive(house)
    assert await kinds(house, "toys") == ["LICENCE_USED", "LICENCE_USED_UP", "CONTROL_ORDERED", "ARRIVED"]


async def test_what_is_restored_is_notified_and_the_former_notice_reads_as_before(house: House) -> None:
    toys(house)
    await register(house.desk.store, licence())
    table = goods(["GREEN-1"])
    await house.desk.consume(table)
    before = (await pulled(house, "toys")).notices
    await dispose(house, disposal(mrns(table)[0], INVALIDATED))
    after = (await pulled(house, "toys")).notices
    assert after[: len(before)] == before
    assert [(each.kind, each.licences[0].outcome) for each in after[len(before) :]] == [
        (pb.NOTICE_KIND_LICENCE_RESTORED, licence_pb2.LICENCE_OUTCOME_RESTORED)
    ]


async def test_versions_of_one_transaction_are_notified_once_each(house: House) -> None:
    toys(house)
    house.desk.decide.parameters = parameters()
    await register(house.desk.store, licence(), licence("L2"))
    # An order of the goods, then the arrival that was recorded before.
    await arrive(house)
    await house.desk.consume(goods(["GREEN-1"], MEAT, cites=()))
    assert await kinds(house) == ["CONTROL_ORDERED", "ARRIVED"]
    # An order of the goods, then a referral before loading.
    house.desk.neighbours.loading = recommending(lambda *_: INFORMATION, [])
    await house.desk.consume(goods(["GREEN-4"], MEAT, cites=(), master="020-9"))
    house.desk.neighbours.loading = recommending(lambda _, version: INFORMATION if version == 2 else NONE, [])
    assert await kinds(house) == ["CONTROL_ORDERED", "ARRIVED", "CONTROL_ORDERED"]
    # An amendment that restores, then a referral before loading.
    await house.desk.consume(goods(["GREEN-2"], master="020-9"))
    await house.desk.consume(goods(["GREEN-2"], cites=[("C400", "L2")], version=2, master="020-9"))
    found = (await pulled(house, "toys")).notices
    assert [(each.kind, [need.outcome for need in each.licences]) for each in found] == [
        (pb.NOTICE_KIND_LICENCE_USED, [licence_pb2.LICENCE_OUTCOME_WRITTEN_OFF]),
        (pb.NOTICE_KIND_LICENCE_USED, [licence_pb2.LICENCE_OUTCOME_WRITTEN_OFF]),
        (pb.NOTICE_KIND_LICENCE_RESTORED, [licence_pb2.LICENCE_OUTCOME_RESTORED]),
    ]
    # A referral of an amendment comes before what its goods order.
    await house.desk.consume(goods(["GREEN-3"], OTHERS, cites=(), master="020-9"))
    await house.desk.consume(goods(["GREEN-3"], MEAT, cites=(), version=2, master="020-9"))
    assert await kinds(house) == ["CONTROL_ORDERED", "ARRIVED", *["CONTROL_ORDERED"] * 2]


async def test_a_decision_that_uses_a_licence_and_lacks_another_is_notified_by_two(house: House) -> None:
    def two_items(_: int, row: consignment_pb2.Consignment) -> None:
        second = row.items.add()
        second.CopyFrom(row.items[0])
        second.number = 2
        second.net_mass_mg = 9_000_000

    toys(house)
    await register(house.desk.store, licence(grams=1_500))
    await house.desk.consume(goods(["GREEN-1"], change=two_items))
    used, short, _ = (await pulled(house, "toys", language="en")).notices
    assert [(each.kind, [need.item_number for need in each.licences]) for each in (used, short)] == [
        (pb.NOTICE_KIND_LICENCE_USED, [1]),
        (pb.NOTICE_KIND_LICENCE_USED_UP, [2]),
    ]
    assert "item 2" not in used.text
    assert "item 1" not in short.text


async def test_a_page_of_which_an_agency_reads_nothing_is_not_the_end(house: House) -> None:
    toys(house)
    await register(house.desk.store, licence())
    table = goods(["GREEN-1"])
    await house.desk.consume(table)
    first = await pulled(house, "toys", page_size=1)
    await ordered(house, order(mrns(table)[0]))
    await dispose(house, disposal(mrns(table)[0], INVALIDATED))
    after = await pulled(house, "toys", page_size=1, cursor=first.next_cursor)
    assert [each.kind for each in after.notices] == [pb.NOTICE_KIND_LICENCE_RESTORED]
    assert not (await pulled(house, "toys", page_size=1, cursor=after.next_cursor)).notices


async def test_a_notice_has_what_the_work_list_has(house: House) -> None:
    (mrn,) = await house.filed(["RED-1"])
    await ordered(house, order(mrn, EXAMINATION, authority="food", text="Look at item 1."))
    (notice,) = (await pulled(house)).notices
    (own,) = await listed(house, role="agency", by="food")
    assert notice.controls[0] == own.control
    assert (notice.version, notice.state, notice.house_document_number) == (
        own.version,
        own.state,
        own.house_document_number,
    )


async def test_other_roles_are_refused(house: House) -> None:
    for role in ("officer", "analyst", "operator"):
        call = (await house.stub(role, "olga")).PullNotices(pb.PullNoticesRequest(), timeout=SECONDS)
        assert (await refused_with(call))[1] == "ROLE_NOT_ALLOWED"


async def test_an_agency_waits_for_its_next_notice(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    begin = (await pulled(house)).next_cursor
    stub = await house.stub("agency", "food")
    waiting = asyncio.ensure_future(
        stub.PullNotices(pb.PullNoticesRequest(cursor=begin, wait_millis=20_000), timeout=25)
    )
    await ordered(house, order(mrn, authority="toys", addressee=FILER), request_id="o1")
    await ordered(house, order(mrn, EXAMINATION, authority="food"), request_id="o2")
    assert [each.kind for each in (await waiting).notices] == [pb.NOTICE_KIND_CONTROL_ORDERED]
