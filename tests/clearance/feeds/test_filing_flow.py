"""The flow over real sockets: ingestion's feed, risk and revenue assessing, clearance deciding, its own feed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from libs.columns import Table
from libs.customs.partitions import PARTITIONS
from libs.feed.consume.port import GrpcPort
from libs.feed.types import BEGINNING
from libs.server.identity import Role
from libs.server.transport.tls import LocalCA, server_credentials, server_hosts
from libs.store.embedded.server import EmbeddedPostgres
from libs.telemetry.metrics import REGISTRY
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.clearance.v1.clearance_pb2_grpc import ClearanceServiceStub
from luxor.common.v1.common_pb2 import DEBT_STATUS_NONE
from luxor.consignment.v1.consignment_pb2 import MESSAGE_FUNCTION_AMEND as AMEND
from luxor.consignment.v1.consignment_pb2 import MESSAGE_FUNCTION_INVALIDATE as INVALIDATE
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.feed.v1 import dead_letters_pb2
from luxor.feed.v1.dead_letters_pb2_grpc import DeadLetterServiceStub
from luxor.ingestion.v1 import ingestion_pb2
from luxor.ingestion.v1.ingestion_pb2_grpc import IngestionServiceStub
from luxor.revenue.v1.revenue_pb2_grpc import add_RevenueServiceServicer_to_server
from luxor.risk.v1.risk_pb2_grpc import add_RiskServiceServicer_to_server
from services.clearance.__main__ import assemble as clearance
from services.clearance.consignment.transitions import State
from services.ingestion.__main__ import assemble as ingestion
from services.revenue.law.assess.assessment import assess
from services.revenue.law.batch.filings import filings_of
from services.revenue.law.text.assessment_columns import answer_of
from services.revenue.store.law_files import load_program
from services.risk.rules.rule_set import load_rule_set
from services.risk.rules.scoring import assess as score
from tests.clearance.desk import Neighbours, _Revenue, _Risk
from tests.ingestion.consignments import consignment
from tests.support.databases import enterable_directory
from tests.support.services import Running, running

pytestmark = pytest.mark.long

SECONDS = 60.0
PROFILE = Path(__file__).parents[3] / "services/risk/profiles/first_light.yaml"


@pytest.fixture
def urls(postgres: EmbeddedPostgres) -> Iterator[list[str]]:
    names = ["flow_ingestion", "flow_clearance"]
    for name in names:
        postgres.create_database(name)
    yield [postgres.url(name) for name in names]
    for name in names:
        postgres.drop_database(name)


class Flow:
    """Ingestion and clearance that serve, between neighbours that answer."""

    def __init__(self, filing: Running, clearing: Running, neighbours: Neighbours) -> None:
        self.filing = filing
        self.clearing = clearing
        self.neighbours = neighbours

    async def file(self, rows: list[Consignment], request_id: str = "r1") -> list[str]:
        stub = IngestionServiceStub(await self.filing.channel("filer", "shop"))
        request = ingestion_pb2.SubmitConsignmentsRequest(request_id=request_id, consignments=rows)
        answer = await stub.SubmitConsignments(request, timeout=SECONDS)
        return [result.receipt.mrn for result in answer.results]

    async def notices(self, count: int) -> list[pb.Notice]:
        """Read notices until there are so many."""
        stub = ClearanceServiceStub(await self.clearing.channel("filer", "shop"))
        told: list[pb.Notice] = []
        after = ""
        while len(told) < count:
            request = pb.PullNoticesRequest(cursor=after, wait_millis=5_000)
            answer = await stub.PullNotices(request, timeout=SECONDS)
            told.extend(answer.notices)
            after = answer.next_cursor
        return told


@pytest_asyncio.fixture
async def flow(urls: list[str]) -> AsyncIterator[Flow]:
    home = enterable_directory()
    neighbours = Neighbours()
    party = LocalCA(home / "tls", "luxor").issue(Role.SERVICE, "revenue", server_hosts("revenue"))
    server = grpc.aio.server()
    add_RiskServiceServicer_to_server(_Risk(neighbours), server)
    add_RevenueServiceServicer_to_server(_Revenue(neighbours), server)
    port = server.add_secure_port("127.0.0.1:0", server_credentials(party))
    await server.start()
    async with AsyncExitStack() as stack:
        filing = await stack.enter_async_context(running("ingestion", ingestion, urls[0], data_dir=home))
        environ = {
            "LUXOR_INGESTION_TARGET": filing.target,
            "LUXOR_RISK_TARGET": f"dns:///127.0.0.1:{port}",
            "LUXOR_REVENUE_TARGET": f"dns:///127.0.0.1:{port}",
        }
        clearing = await stack.enter_async_context(
            running("clearance", clearance, urls[1], data_dir=home, environ=environ)
        )
        await until(lambda: follows(clearing))
        yield Flow(filing, clearing, neighbours)
        neighbours.gate.set()
    await server.stop(None)


def named(number: int, word: str) -> Consignment:
    row = consignment(number)
    row.local_reference = f"{word}-{number}"
    return row


async def until(ready: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SECONDS):
        while not await ready():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def follows(clearing: Running) -> bool:
    """Tell whether it follows ingestion's feed: what is filed while it still reads snapshots comes by one of them and by the feed again."""
    async with clearing.service.database.connection() as reading:
        ready = await reading.raw.fetchval("select count(*) from feed_cursor where source = 'ingestion' and ready")
    return bool(ready == PARTITIONS)


async def test_a_filing_is_decided_by_the_real_rules_and_the_real_law_and_announced(flow: Flow) -> None:
    rule_set, program = load_rule_set(PROFILE), load_program()

    def revenue(table: Table) -> Table:
        answer = assess(program, filings_of(table, table.ints("accepted_at")))
        return answer_of(answer, table.strings("declarant_identifier"), table.strings("filer"))

    flow.neighbours.risk = lambda table: score(rule_set, table)
    flow.neighbours.revenue = revenue
    rows = [consignment(number) for number in range(50)]
    rows[7].consignee.address.country = rows[7].destination_country = "AQ"
    filed = await flow.file(rows)
    told = await flow.notices(50)
    assert sorted(each.mrn for each in told) == sorted(filed)
    stub = ClearanceServiceStub(await flow.clearing.channel("officer", "olga"))
    request = pb.GetStatusRequest(queries=[pb.StatusQuery(mrn=mrn) for mrn in filed])
    statuses = [result.consignments[0] for result in (await stub.GetStatus(request, timeout=SECONDS)).results]
    assert all(each.decision.rule_set_version and each.decision.lane for each in statuses)
    assert statuses[0].debt.charges
    assert all(each.sentence and each.reference for each in statuses[0].debt.charges)
    assert statuses[0].debt.duty_minor + statuses[0].debt.tax_minor + statuses[0].debt.fee_minor == (
        statuses[0].debt.payable_minor + statuses[0].debt.vendor_collected_minor
    )
    assert (statuses[7].state, "NO_RULEBOOK" in statuses[7].decision.reasons) == (State.HELD, True)
    port = GrpcPort(await flow.clearing.channel("service", "statistics"), consumer="", message_class=ClearanceColumns)
    page = await port.pull(dict.fromkeys(range(PARTITIONS), BEGINNING), 5_000, 5_000)
    assert sorted(mrn for each in page.batches for mrn in each.table.strings("mrn").tolist()) == sorted(filed)
    snapshot = await port.snapshot(list(range(PARTITIONS)), b"", 30)
    rest = await port.snapshot(list(range(PARTITIONS)), snapshot.token, 30)
    assert snapshot.batch is not None
    assert rest.batch is not None
    assert rest.token == b""
    seen = [mrn for each in (snapshot.batch, rest.batch) for mrn in each.table.strings("mrn").tolist()]
    assert seen == sorted(filed)


async def test_an_amendment_is_decided_again_and_an_invalidation_ends_the_declaration(flow: Flow) -> None:
    rows = [named(number, "RED") for number in range(3)]
    filed = await flow.file(rows)
    await flow.notices(3)
    calls = flow.neighbours.calls
    for row in rows[:2]:
        row.function, row.amended_version = AMEND, 1
        row.items[0].price.minor += 1
    assert await flow.file(rows[:2], "r2") == filed[:2]
    await flow.notices(5)
    assert flow.neighbours.calls == calls + 2
    ends = [
        Consignment(amended_mrn=filed[place], function=INVALIDATE, amended_version=2 - place // 2) for place in (1, 2)
    ]
    ends[0].return_document.number = "AWB-5"
    assert await flow.file(ends, "r3") == filed[1:]
    notices = (await flow.notices(7))[5:]
    assert sorted(each.mrn for each in notices) == sorted(filed[1:])
    assert {each.kind for each in notices} == {pb.NOTICE_KIND_INVALIDATED}
    assert flow.neighbours.calls == calls + 2
    stub = ClearanceServiceStub(await flow.clearing.channel("filer", "shop"))
    request = pb.GetStatusRequest(queries=[pb.StatusQuery(mrn=mrn) for mrn in filed])
    statuses = [result.consignments[0] for result in (await stub.GetStatus(request, timeout=SECONDS)).results]
    assert [each.state for each in statuses] == [pb.STATE_HELD, pb.STATE_INVALIDATED, pb.STATE_INVALIDATED]
    assert [each.decision.reasons for each in statuses[1:]] == [["WITHDRAWN_BY_FILER"]] * 2
    assert [each.debt.status for each in statuses[1:]] == [DEBT_STATUS_NONE] * 2


async def test_filings_wait_while_a_neighbour_is_away_and_none_is_set_aside(flow: Flow) -> None:
    flow.neighbours.refuse = grpc.StatusCode.UNAVAILABLE
    filed = await flow.file([named(number, "GREEN") for number in range(20)])

    async def tried() -> bool:
        return flow.neighbours.calls >= 6

    await until(tried)
    letters = DeadLetterServiceStub(await flow.clearing.channel("operator", "otto"))
    assert (await letters.ListDeadLetters(dead_letters_pb2.ListDeadLettersRequest(), timeout=SECONDS)).total == 0
    flow.neighbours.refuse = None
    assert sorted(each.mrn for each in await flow.notices(20)) == sorted(filed)


def counted(name: str, **labels: str) -> float:
    """Add up the samples of a metric of this process that have these labels."""
    return sum(
        sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def figures() -> dict[str, float]:
    return {
        "decisions": counted("luxor_clearance_decisions_total"),
        "timed": counted("luxor_clearance_decision_seconds_count"),
        "states": counted("luxor_clearance_states_total"),
        "tax": counted("luxor_clearance_charges_minor_total", kind="tax", currency="EUR"),
        "replayed": counted("luxor_clearance_events_total", outcome="replayed"),
    }


async def test_a_row_that_cannot_be_assessed_makes_no_other_row_count_twice(flow: Flow) -> None:
    before = figures()

    def since() -> dict[str, float]:
        return {name: value - before[name] for name, value in figures().items()}

    flow.neighbours.refuse, flow.neighbours.refuse_reference = grpc.StatusCode.INVALID_ARGUMENT, "GREEN-5"
    await flow.file([named(number, "GREEN") for number in range(16)])
    assert len(await flow.notices(15)) == 15
    letters = DeadLetterServiceStub(await flow.clearing.channel("operator", "otto"))

    async def settled() -> bool:
        return (await letters.ListDeadLetters(dead_letters_pb2.ListDeadLettersRequest(), timeout=SECONDS)).total == 1

    async def all_counted(filings: int) -> bool:
        """A page is counted behind its commit, and a reader may be told of it first."""
        return since()["decisions"] >= filings

    await until(settled)
    await until(lambda: all_counted(15))
    told = since()
    # How often the page was cut decides how many moments of decision there are; more than filings there cannot be.
    assert 1 <= told.pop("timed") <= 15
    assert told == {"decisions": 15, "states": 15, "tax": 15 * 380, "replayed": 0}
    flow.neighbours.refuse = None
    await letters.ReplayDeadLetters(
        dead_letters_pb2.ReplayDeadLettersRequest(request_id="replay-1", all=True), timeout=SECONDS
    )
    assert len(await flow.notices(16)) == 16
    await until(lambda: all_counted(16))
    told = since()
    assert told.pop("timed") <= 16
    assert told == {"decisions": 16, "states": 16, "tax": 16 * 380, "replayed": 0}


async def test_a_filing_that_cannot_be_assessed_is_set_aside_blocks_nobody_and_is_replayed(flow: Flow) -> None:
    flow.neighbours.refuse, flow.neighbours.refuse_reference = grpc.StatusCode.INVALID_ARGUMENT, "GREEN-3"
    filed = await flow.file([named(number, "GREEN") for number in range(10)])
    told = await flow.notices(9)
    assert sorted([*(each.mrn for each in told), filed[3]]) == sorted(filed)
    letters = DeadLetterServiceStub(await flow.clearing.channel("operator", "otto"))
    listed: list[dead_letters_pb2.DeadLetter] = []

    async def there() -> bool:
        listed[:] = (await letters.ListDeadLetters(dead_letters_pb2.ListDeadLettersRequest(), timeout=SECONDS)).letters
        return bool(listed)

    await until(there)
    assert [(each.key, each.reason) for each in listed] == [(filed[3], "ASSESSMENT_REFUSED")]
    flow.neighbours.refuse = None
    await letters.ReplayDeadLetters(
        dead_letters_pb2.ReplayDeadLettersRequest(request_id="replay-1", all=True), timeout=SECONDS
    )
    assert filed[3] in {each.mrn for each in await flow.notices(10)}
