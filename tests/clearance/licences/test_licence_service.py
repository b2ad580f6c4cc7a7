"""The register over gRPC: who registers, reads and writes off what, versions, repeats and races. The definition is docs/licences.md."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from libs.client.clearance.goods.licences import decimals, millionths
from luxor.clearance.v1 import clearance_pb2, control_pb2
from luxor.clearance.v1 import licence_pb2 as outcome
from luxor.clearance.v1 import licences_pb2 as pb
from tests.clearance.controls import arrive, conclusion, listed, release, state
from tests.clearance.controls import concluded as conclude
from tests.clearance.desk import mrns
from tests.clearance.disposals import outcomes
from tests.clearance.goods import HOLDER, goods, law, used
from tests.clearance.goods import licence_message as licence
from tests.clearance.inspections import status
from tests.clearance.licence_register import put, revoke, stub
from tests.clearance.service_client import SECONDS, House, ask, asking, refused_with


async def registered(house: House, role: str = "agency", by: str = "toys", **fields: Any) -> list[pb.Licence]:
    """List licences, in pages of one."""
    found: list[pb.Licence] = []
    request = pb.ListLicencesRequest(page_size=1, **fields)
    while True:
        page = await (await stub(house, role, by)).ListLicences(request, timeout=SECONDS)
        found += page.licences
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def uses(house: House, number: str, role: str = "agency", by: str = "toys", **ref: str) -> list[pb.LicenceUse]:
    """List the uses of a licence, in pages of one."""
    found: list[pb.LicenceUse] = []
    request = pb.ListLicenceUsesRequest(licence=pb.LicenceRef(type="C400", number=number, **ref), page_size=1)
    while True:
        page = await (await stub(house, role, by)).ListLicenceUses(request, timeout=SECONDS)
        found += page.uses
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def write_off(
    house: House,
    mrn: str,
    number: str,
    *,
    role: str = "agency",
    by: str = "toys",
    item: int = 1,
    request_id: str = "w1",
    **ref: Any,
) -> list[tuple[str, str]]:
    """Name a licence for an item; return state and refusal."""
    named = pb.LicenceWriteOff(
        consignment=clearance_pb2.ConsignmentRef(mrn=mrn, **ref), item_number=item, type="C400", number=number
    )
    request = pb.WriteOffLicencesRequest(request_id=request_id, items=[named])
    answer = await (await stub(house, role, by)).WriteOffLicences(request, timeout=SECONDS)
    return outcomes(list(answer.results))


async def test_a_licence_is_registered_changed_by_version_and_revoked_and_each_authority_has_its_own(
    house: House,
) -> None:
    assert (
        await put(house, licence(), licence("L2", quantity_millionths=None, unit=None, unlimited=True)) == [(1, "")] * 2
    )
    assert (
        await put(house, licence(), licence("L2", quantity_millionths=None, unit=None, unlimited=True)) == [(1, "")] * 2
    )
    assert await put(house, licence(), request_id="p2") == [(1, "")], "equal content changes nothing"
    assert (await refused_with(put(house, licence("L9"))))[1] == "REQUEST_REUSED"
    changes = [
        (licence(goods=["9504"]), (1, "LICENCE_VERSION_CHANGED")),
        (licence(goods=["9504"], version=2), (1, "LICENCE_VERSION_CHANGED")),
        (licence(goods=["9504"], version=1), (2, "")),
        (licence(unit="H87", version=2), (2, "LICENCE_QUANTITY_FIXED")),
        (licence(quantity_millionths=None, unit=None, unlimited=True, version=2), (2, "LICENCE_QUANTITY_FIXED")),
        (licence("L7", version=1), (0, "LICENCE_VERSION_CHANGED")),
    ]
    for number, (change, expected) in enumerate(changes):
        assert await put(house, change, request_id=f"c{number}") == [expected], number
    # The same type and number of another agency and of customs are other licences.
    assert await put(house, licence(), by="food") == [(1, "")]
    assert await put(house, licence(), role="officer", by="olga") == [(1, "")]
    assert await revoke(house, "L1", 2, by="food") == (1, "LICENCE_VERSION_CHANGED")
    assert await revoke(house, "L1", 1) == (2, "LICENCE_VERSION_CHANGED")
    assert await revoke(house, "L1", 2) == (3, "")
    assert await revoke(house, "L1", 3) == (3, "LICENCE_REVOKED")
    assert await put(house, licence(goods=["95"], version=3), request_id="c9") == [(3, "LICENCE_REVOKED")]
    assert await revoke(house, "L9", 1) == (0, "LICENCE_UNKNOWN")
    own = await registered(house)
    assert [(each.authority, each.number, each.version, each.revoked_reason) for each in own] == [
        ("toys", "L1", 3, "FRAUD"), ("toys", "L2", 1, ""),
    ]  # fmt: skip
    assert (own[1].unlimited, own[1].HasField("quantity_millionths")) == (True, False)
    every = await registered(house, "officer", "olga")
    assert [each.authority for each in every] == ["", "food", "toys", "toys"]
    assert [each.authority for each in await registered(house, "officer", "olga", authority="customs")] == [""]
    assert [each.authority for each in await registered(house, "officer", "olga", authority="food")] == ["food"]
    assert await registered(house, "officer", "olga", holder="nobody") == []


MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"type": "c400"}, "LICENCE_MALFORMED"),
    ({"type": ""}, "LICENCE_MALFORMED"),
    ({"number": " L1"}, "LICENCE_MALFORMED"),
    ({"number": ""}, "LICENCE_MALFORMED"),
    ({"holder": ""}, "LICENCE_MALFORMED"),
    ({"jurisdiction": "eu"}, "LICENCE_MALFORMED"),
    ({"goods": []}, "LICENCE_MALFORMED"),
    ({"goods": ["9"]}, "LICENCE_MALFORMED"),
    ({"goods": ["95,03"]}, "LICENCE_MALFORMED"),
    ({"authority": "food"}, "LICENCE_MALFORMED"),
    ({"from_day": ""}, "LICENCE_DAYS_MALFORMED"),
    ({"to_day": "2025-12-31"}, "LICENCE_DAYS_MALFORMED"),
    ({"unit": ""}, "LICENCE_QUANTITY_UNCLEAR"),
    ({"unlimited": True}, "LICENCE_QUANTITY_UNCLEAR"),
    ({"quantity_millionths": None}, "LICENCE_QUANTITY_UNCLEAR"),
    ({"quantity_millionths": None, "unlimited": True}, "LICENCE_QUANTITY_UNCLEAR"),
    ({"quantity_millionths": 0}, "LICENCE_QUANTITY_UNCLEAR"),
]


async def test_of_changes_of_one_version_at_once_one_counts_and_the_others_know_it(house: House) -> None:
    await put(house, licence())
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.fetch("select from licence for update")
        puts = [
            asyncio.create_task(put(house, licence(goods=[code], version=1), request_id=code))
            for code in ("9504", "9505")
        ]
        revoking = asyncio.create_task(revoke(house, "L1", 1))
        while await tx.raw.fetchval("select count(*) from pg_locks where not granted") < 3:  # noqa: ASYNC110
            await asyncio.sleep(0)
    results = [result for each in await asyncio.gather(*puts) for result in each] + [await revoking]
    (counted,) = (place for place, (_, refusal) in enumerate(results) if not refusal)
    other = "LICENCE_REVOKED" if counted == 2 else "LICENCE_VERSION_CHANGED"
    assert results == [(2, "" if place == counted else other) for place in range(3)]
    (stored,) = await registered(house)
    assert stored.version == 2
    assert list(stored.goods) == [["9504"], ["9505"], list(licence().goods)][counted]


async def test_each_malformed_licence_is_refused_in_its_own_result_and_the_others_are_registered(house: House) -> None:
    entries = [licence(**{"number": f"M{place}"} | fields) for place, (fields, _) in enumerate(MALFORMED)]
    results = await put(house, licence(), *entries, licence())
    assert results == [(1, ""), *((0, reason) for _, reason in MALFORMED), (0, "LICENCE_REPEATED")]
    assert len(await registered(house)) == 1


async def test_no_other_role_reaches_the_register(house: House) -> None:
    ref = pb.LicenceRef(type="C400", number="L1")
    revocation = pb.LicenceRevocation(licence=ref, version=1, reason="X")
    for caller in (("filer", "shop"), ("carrier", "wings"), ("analyst", "anna"), ("operator", "ops")):
        called = await stub(house, *caller)
        for call in (
            called.PutLicences(pb.PutLicencesRequest(request_id="1", licences=[licence()]), timeout=SECONDS),
            called.RevokeLicences(pb.RevokeLicencesRequest(request_id="2", revocations=[revocation]), timeout=SECONDS),
            called.ListLicences(pb.ListLicencesRequest(), timeout=SECONDS),
            called.ListLicenceUses(pb.ListLicenceUsesRequest(licence=ref), timeout=SECONDS),
            called.WriteOffLicences(pb.WriteOffLicencesRequest(request_id="3"), timeout=SECONDS),
        ):
            assert await refused_with(call) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")


async def test_a_licence_that_is_named_later_is_written_off_once_and_the_goods_continue(house: House) -> None:
    house.desk.decide.goods = law()
    await put(house, licence(quantity_millionths=1_500_000))
    table = goods(["GREEN-1", "GREEN-2"], cites=())
    first, second = mrns(table)
    await house.desk.consume(table)
    await arrive(house)
    seen = await status(house, first)
    assert [(each.authority, each.outcome) for each in seen.licences] == [("toys", outcome.LICENCE_OUTCOME_NOT_CITED)]
    assert await release(house, first) == [("DOCUMENTS_REQUESTED", "CONTROL_OPEN")]
    for by, number, expected in (
        ("food", "L1", "CONSIGNMENT_UNKNOWN"),
        ("toys", "L2", "LICENCE_UNKNOWN"),
    ):
        assert (await write_off(house, first, number, by=by, request_id=by))[0][1] == expected
    assert (await write_off(house, first, "L1", item=2, request_id="i2"))[0][1] == "LICENCE_NOT_NEEDED"
    assert (await write_off(house, first, "L1", role="officer", by="olga", request_id="o"))[0][
        1
    ] == "LICENCE_NOT_NEEDED"
    assert (await write_off(house, first, "L1", expected_version=1, request_id="e"))[0][1] == "VERSION_CHANGED"
    # Both at once, and each twice: the licence has enough for one of them.
    keys = [(mrn, f"{key}-{mrn}") for mrn in (first, second) for key in "ab"]
    done = await asyncio.gather(*(write_off(house, mrn, "L1", request_id=key) for mrn, key in keys))
    refusals = {key: result[0][1] for key, result in zip(keys, done, strict=True)}
    assert sorted(refusals.values()) == ["", "LICENCE_NOT_NEEDED", "LICENCE_USED_UP", "LICENCE_USED_UP"]
    assert await used(house.desk.store) == (1_000, 1_000, 1)
    ((released, key),) = (each for each, refusal in refusals.items() if not refusal)
    held = second if released == first else first
    assert (await state(house, released), await state(house, held)) == ("RELEASED", "DOCUMENTS_REQUESTED")
    (control,) = (await status(house, released)).controls
    assert (control.result, control.result_reason) == (control_pb2.CONTROL_RESULT_CONFORM, "LICENCE_MET")
    # A repeat of the request gets its first answer.
    assert await write_off(house, released, "L1", request_id=key) == [("RELEASED", "")]
    assert await used(house.desk.store) == (1_000, 1_000, 1)
    # The quantity is never put below what is written off.
    assert await put(house, licence(quantity_millionths=999_999, version=1), request_id="less") == [
        (1, "LICENCE_QUANTITY_FIXED")
    ]
    assert await put(house, licence(quantity_millionths=1_000_000, version=1), request_id="same") == [(2, "")]
    (use,) = await uses(house, "L1")
    assert (use.mrn, use.item_number, use.quantity_millionths) == (released, 1, 1_000_000)
    assert [each.mrn for each in await uses(house, "L1", "officer", "olga", authority="toys")] == [released]
    assert await uses(house, "L1", by="food") == [] == await uses(house, "L1", "officer", "olga")
    # The agency may find the other one in order by its own decision: nothing is written off then.
    assert outcomes(await conclude(house, conclusion(held), role="agency", by="toys")) == [("RELEASED", "")]
    assert await used(house.desk.store) == (1_000, 1_000, 1)


async def test_each_role_reads_of_the_licences_what_concerns_it(house: House) -> None:
    house.desk.decide.goods = law()
    await put(house, licence())
    table = goods(["GREEN-1"])
    (mrn,) = mrns(table)
    await house.desk.consume(table)
    await arrive(house)
    (own,) = (await status(house, mrn)).licences
    assert (own.number, own.quantity_millionths, own.unit, own.outcome, own.holder) == (
        "L1", 1_000_000, "KGM", outcome.LICENCE_OUTCOME_WRITTEN_OFF, HOLDER,
    )  # fmt: skip
    (filers,) = (await status(house, mrn, "filer", "shop")).licences
    assert (filers.number, filers.outcome, filers.holder) == ("L1", own.outcome, "")
    (carried,) = await ask(await house.stub("carrier", "wings"), asking(house_document_number="H-GREEN-1"))
    assert [list(each.licences) for each in carried.consignments] == [[]]
    assert not (await status(house, mrn, "analyst", "anna")).licences[0].checked_only
    assert await listed(house, "agency", "toys") == [], "an agency is not asked about what its register answers"


def test_quantities_in_decimals_are_exact_and_nothing_is_rounded() -> None:
    for text, number in (("2.5", 2_500_000), ("0.000001", 1), ("1000000000000", 10**18), ("1e3", 10**9)):
        assert millionths(text) == number
        assert millionths(decimals(number)) == number
    for text in ("0.0000001", "x", "nan", "inf", ""):
        with pytest.raises(ValueError, match="is no quantity"):
            millionths(text)
