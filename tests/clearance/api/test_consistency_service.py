"""The check over gRPC and from the command line: who may ask for it, its pages, and its exit code."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc
import pytest
from click.testing import CliRunner

from libs.cli.local.state import SERVICES
from libs.cli.main import luxor
from libs.customs.time import day_text
from luxor.clearance.v1 import consistency_pb2 as pb
from luxor.clearance.v1.consistency_pb2_grpc import ConsistencyServiceStub
from services.clearance.commands.consistency.inconsistencies import Kind
from tests.clearance.desk import DAY, filings, mrns
from tests.clearance.service_client import SECONDS, House, refused_with


async def check(house: House, role: str = "operator", **fields: Any) -> pb.CheckConsignmentsResponse:
    stub = ConsistencyServiceStub(await house.service.channel(role, "olga"))
    return await stub.CheckConsignments(pb.CheckConsignmentsRequest(**fields), timeout=SECONDS)


async def pages(house: House, role: str = "operator", **fields: Any) -> list[pb.CheckConsignmentsResponse]:
    found = [await check(house, role, **fields)]
    while found[-1].next_page_token:
        found.append(await check(house, role, **fields, page_token=found[-1].next_page_token))
    return found


async def cli(house: House, *arguments: str) -> tuple[int, str]:
    environ = {f"LUXOR_{each.upper()}_TARGET": house.service.target for each in SERVICES}
    environ |= {"LUXOR_TLS_DIR": str(house.service.data_dir / "tls"), "COLUMNS": "200"}
    runner = CliRunner(env=environ)
    result = await asyncio.to_thread(runner.invoke, luxor, ["clearance", "check", *arguments])
    return result.exit_code, result.stdout


async def tampered(house: House) -> str:
    """File three consignments and take the held one from its list; give its MRN."""
    house.desk.consistent = False
    await house.filed(["GREEN-1", "RED-2", "GREEN-3"])
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("delete from held")
    return mrns(filings(["RED-2"]))[0]


async def test_operators_officers_and_analysts_check_in_pages_and_nobody_else_does(house: House) -> None:
    mrn = await tampered(house)
    for role in ("operator", "officer", "analyst"):
        for size in (1, 2, 0, 5_000):
            found = await pages(house, role, page_size=size)
            assert sum(page.consignments for page in found) == sum(page.versions for page in found) == 3
            assert len(found) == {1: 4, 2: 2}.get(size, 1)
            (told,) = [each for page in found for each in page.inconsistencies]
            assert (told.mrn, told.version, told.kind) == (mrn, 1, pb.INCONSISTENCY_KIND_WORK_LIST)
            assert told.detail == "The list `held` lacks it."
    for role in ("filer", "carrier", "gateway"):
        assert await refused_with(check(house, role)) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")  # type: ignore[arg-type]


async def test_days_before_the_first_one_asked_for_are_not_checked(house: House) -> None:
    await tampered(house)
    assert (await check(house, accepted_from_day=day_text(DAY))).consignments == 3
    assert (await check(house, accepted_from_day=day_text(DAY + 1))).consignments == 0
    wrong = check(house, accepted_from_day="yesterday")
    assert await refused_with(wrong) == (grpc.StatusCode.INVALID_ARGUMENT, "DAY_MALFORMED")  # type: ignore[arg-type]


async def test_the_command_ends_with_0_if_all_is_consistent_and_with_1_if_not(house: House) -> None:
    await house.filed(["GREEN-1", "RED-1"])
    code, output = await cli(house)
    assert (code, output) == (0, "2 consignments with 2 versions checked, 0 inconsistencies found.\n")
    mrn = await tampered(house)
    code, output = await cli(house, "--json", "--as", "analyst/anna")
    told = json.loads(output)
    assert code == 1
    assert (told["consignments"], told["unsettled"]) == (4, 0)
    assert {
        "mrn": mrn,
        "version": 1,
        "kind": "INCONSISTENCY_KIND_WORK_LIST",
        "detail": "The list `held` lacks it.",
    } in told["inconsistencies"]
    code, output = await cli(house)
    assert code == 1
    assert mrn in output
    assert "work list" in output
    code, output = await cli(house, "--from", day_text(DAY + 1))
    assert code == 0
    assert (await cli(house, "--as", "filer/shop"))[0] == 2


@pytest.mark.parametrize("kind", list(Kind))
def test_the_numbers_of_kinds_are_those_of_the_contract(kind: Kind) -> None:
    assert int(pb.InconsistencyKind.Value(f"INCONSISTENCY_KIND_{kind.name}")) == kind.value
    assert len(Kind) == len(pb.InconsistencyKind.items()) - 1
