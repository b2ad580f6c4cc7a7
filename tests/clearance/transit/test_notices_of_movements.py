"""What the carrier that moves goods between offices is notified of, beside the carrier whose arrival took effect, and what it is not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from luxor.clearance.v1 import clearance_pb2 as pb
from services.clearance.jobs.waits import Waits
from services.clearance.notices.rendering import key_of
from tests.clearance.carriers import DOCUMENT, PREFIX, bind
from tests.clearance.controls import SCAN, order, ordered
from tests.clearance.desk_commands import check_versions
from tests.clearance.disposals import DESTROYED, disposal, dispose
from tests.clearance.inspections import status
from tests.clearance.service_client import House
from tests.clearance.transits import OFFICE, landed, notices, pay, take


def keys(received: Sequence[pb.Notice], mrn: str) -> list[str]:
    """Return the texts that notices of goods have, which name kind and case."""
    return [key_of(each) for each in received if each.mrn == mrn]


async def test_the_carrier_of_a_movement_is_notified_of_its_steps_alone_as_the_carrier_of_the_arrival_is(
    house: House,
) -> None:
    paid, held, lost, ended = numbers = await landed(house, "BARE-1", "RED-2", "BARE-3", "RED-4")
    await bind(house, DOCUMENT, "T1-7", "rails", "b1")
    await bind(house, PREFIX, "CMR", "rails", "b2")
    await take(house, "start", paid, held, document_number="T1-7", seal="S-1", guarantee_reference="26DE000000000000G1")
    await take(house, "start", lost, ended, request_id="s2", document_number="CMR-8")
    due = (await status(house, paid)).transit.due_at.ToMicroseconds()
    await Waits(house.desk.store, "r").step(at=due)
    # What happens to the goods beside their movement is not for it, nor what follows the end of the movement.
    await ordered(house, order(held, SCAN))
    await pay(house, paid)
    await take(house, "arrive", paid, held, role="carrier", ident="rails", office=OFFICE)
    await take(house, "end", lost, lost=True)
    await take(house, "end", ended, request_id="e2")
    await dispose(house, disposal(lost, DESTROYED), disposal(ended, DESTROYED))
    own, of_arrival = await notices(house, "carrier", "rails"), await notices(house, "carrier", "wings")
    assert [keys(own, mrn) for mrn in numbers] == [
        ["TRANSIT_STARTED", "TRANSIT_OVERDUE", end]
        for end in ("RELEASED", "TRANSIT_ARRIVED", "TRANSIT_LOST", "TRANSIT_ENDED")
    ]
    assert [each for each in of_arrival if each in own] == own, "it reads what the carrier of the arrival reads"
    others = [key_of(each) for each in of_arrival if each not in own and each.kind != pb.NOTICE_KIND_ARRIVED]
    assert others == ["CONTROL_ORDERED", "DISPOSED_LOST", "DISPOSED_DESTROYED"]
    (started,) = [each for each in own if each.mrn == paid and each.kind == pb.NOTICE_KIND_TRANSIT_STARTED]
    assert (started.transit.document_number, started.transit.seal, started.transit.destination_office) == (
        "T1-7",
        "S-1",
        OFFICE,
    )
    assert (started.transit.guarantee_reference, started.transit.departure_office) == ("", "")
    assert not any(each.reasons or each.HasField("payable_minor") or each.local_reference for each in own)
    assert await notices(house, "carrier", "boats") == []
    await check_versions(house.desk)


async def test_each_carrier_of_a_document_has_one_notice_of_a_step_also_that_of_the_arrival(house: House) -> None:
    named, unnamed = await landed(house, "RED-1", "RED-2")
    for carrier in ("wings", "rails", "boats"):
        await bind(house, DOCUMENT, "T1-7", carrier, carrier)
    await take(house, "start", named, document_number="T1-7")
    await take(house, "start", unnamed, request_id="s2")
    for carrier, of_unnamed in (("wings", ["TRANSIT_STARTED"]), ("rails", []), ("boats", [])):
        received = [each for each in await notices(house, "carrier", carrier) if each.transit.destination_office]
        assert [keys(received, mrn) for mrn in (named, unnamed)] == [["TRANSIT_STARTED"], of_unnamed], carrier


async def test_the_days_of_its_binding_decide_of_which_steps_a_carrier_is_notified(house: House) -> None:
    (mrn,) = await landed(house, "RED-1")

    async def read(carrier: str) -> list[str]:
        return keys(await notices(house, "carrier", carrier), mrn)

    now = datetime.fromtimestamp(await house.desk.store.database.now() / 1_000_000, UTC)
    today = now.date()
    yesterday, late = today - timedelta(days=1), today + timedelta(days=60)
    await bind(house, DOCUMENT, "T1-7", "rails", "b1", to_day=late.isoformat())
    await bind(house, DOCUMENT, "T1-7", "boats", "b2", to_day=yesterday.isoformat())
    await take(house, "start", mrn, document_number="T1-7")
    assert (await read("rails"), await read("boats")) == (["TRANSIT_STARTED"], [])
    # Who is bound later is notified of what follows; who was bound on the day of a step, reads it after the end of the binding.
    await bind(house, DOCUMENT, "T1-7", "boats", "b3")
    days = ((late - today).days, (late - today).days + 1)
    due = [int((now + timedelta(days=each)).timestamp() * 1_000_000) for each in days]
    assert [await Waits(house.desk.store, "r").step(at=each) for each in due] == [1, 0]
    assert (await read("rails"), await read("boats")) == (["TRANSIT_STARTED", "TRANSIT_OVERDUE"], ["TRANSIT_OVERDUE"])
    # A binding that an officer corrects was none.
    await bind(house, DOCUMENT, "T1-7", "rails", "b4", to_day=yesterday.isoformat())
    assert await read("rails") == []
    await take(house, "end", mrn)
    assert (await read("rails"), await read("boats")) == ([], ["TRANSIT_OVERDUE", "TRANSIT_ENDED"])
