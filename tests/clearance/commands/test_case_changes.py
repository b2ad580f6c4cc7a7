"""A change of a case whose COMMIT was lost takes effect once."""

from __future__ import annotations

from hashlib import sha256

import pytest

from libs.store.database import Database
from libs.store.errors import StoreError
from luxor.clearance.v1 import cases_pb2 as pb
from services.clearance.commands.act import Request
from services.clearance.commands.cases.attach import Attachments
from services.clearance.commands.cases.change import ChangeCases, Target
from services.clearance.store import Store
from tests.clearance.desk import TRACE, Desk, filings, mrns
from tests.support.cutting_proxy import ANSWER, COMMIT, Cut, CuttingProxy

LOST = {
    "the server never got the COMMIT": Cut(sent=0),
    "it got a part of it": Cut(sent=len(COMMIT) - 1),
    "its answer was lost": Cut(answered=0),
    "a part of its answer was lost": Cut(answered=len(ANSWER) - 1),
}


def request(request_id: str) -> Request:
    return Request("officer/otto", request_id, b"d", TRACE)


async def open_case(store: Store, request_id: str, numbers: list[str]) -> int:
    event = pb.CaseEvent(change=pb.CASE_CHANGE_OPENED, by="otto", title=request_id, relation=pb.CASE_RELATION_SELECTION)
    answer = await ChangeCases(store).open(
        event,
        [(each, None) for each in numbers],
        request=request(request_id),
        encode=lambda changed, _: str(changed.case.number).encode(),
    )
    return int(answer)


async def note(store: Store, request_id: str, number: int) -> int:
    async def make(*_: object) -> pb.CaseEvent:
        return pb.CaseEvent(change=pb.CASE_CHANGE_NOTED, by="otto", note=request_id)

    answer = await ChangeCases(store).change(
        [Target(number)],
        pb.CASE_CHANGE_NOTED,
        make,
        request=request(f"note {request_id}"),
        encode=lambda results: str(results[0].case.version).encode(),
    )
    return int(answer)


async def attach(store: Store, request_id: str, number: int) -> int:
    digest = sha256(request_id.encode()).hexdigest()
    event = pb.CaseEvent(change=pb.CASE_CHANGE_ATTACHED, by="otto")
    event.attachment.MergeFrom(pb.CaseAttachment(sha256=digest, name="n", content_type=pb.CONTENT_TYPE_TEXT))
    answer = await Attachments(store).attach(
        [Target(number)],
        event,
        uploader="officer/otto",
        request=request(f"attach {request_id}"),
        encode=lambda results: str(results[0].case.version).encode(),
    )
    return int(answer)


async def test_a_repeat_after_a_lost_commit_has_one_effect(desk: Desk, database_url: str) -> None:
    filed = filings(["RED-1"])
    await desk.consume(filed)
    async with CuttingProxy(database_url) as proxy:
        for lost, cut in LOST.items():
            database = Database(proxy.url, name="clearance")
            await database.open()
            try:
                proxy.plan([cut])
                with pytest.raises(StoreError):
                    await open_case(Store(database), lost, mrns(filed))
                number = await open_case(desk.store, lost, mrns(filed))
                assert await open_case(desk.store, lost, mrns(filed)) == number
                content = lost.encode()
                await Attachments(desk.store).upload("officer/otto", sha256(content).digest(), len(content), 0, content)
                for version, change in ((2, note), (3, attach)):
                    proxy.plan([cut])
                    with pytest.raises(StoreError):
                        await change(Store(database), lost, number)
                    assert [await change(desk.store, lost, number) for _ in range(2)] == [version] * 2
            finally:
                await database.close()
    async with desk.store.database.connection() as reading:
        rows = await reading.raw.fetch("select version, consignments from case_file")
        assert [tuple(row) for row in rows] == [(3, 1)] * len(LOST)
        assert await reading.raw.fetchval("select count(*) from case_event") == 3 * len(LOST)
        assert await reading.raw.fetchval("select count(*) from content_upload where stored") == len(LOST)
