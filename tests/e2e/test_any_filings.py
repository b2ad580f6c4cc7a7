"""Sales, filings, parts, repeats, amendments, invalidations and arrivals of several parties at once, through three services, against a model.

The model follows from docs/filing.md, docs/parts.md, docs/sales.md and docs/clearance.md. A step may come at any time; where the docs say that the
order of two events decides, the first one is complete before the second one begins.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import grpc.aio
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from libs.server.identity import Role
from libs.server.transport.tls import LocalCA, server_credentials, server_hosts
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.tables.migrate import migrate
from luxor.clearance.v1 import clearance_pb2 as clearance_pb
from luxor.clearance.v1.clearance_pb2_grpc import ClearanceServiceStub
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2 as ingestion_pb
from luxor.ingestion.v1 import parts_pb2 as parts_pb
from luxor.ingestion.v1.ingestion_pb2_grpc import IngestionServiceStub
from luxor.ingestion.v1.parts_pb2_grpc import PartServiceStub
from luxor.revenue.v1 import sales_pb2
from luxor.revenue.v1.sales_pb2_grpc import SaleServiceStub
from luxor.risk.v1.risk_pb2_grpc import add_RiskServiceServicer_to_server
from services.clearance.__main__ import assemble as clearance
from services.ingestion.__main__ import assemble as ingestion
from services.revenue.__main__ import assemble as revenue
from tests.clearance.desk import CARRIER, Neighbours, _Risk
from tests.ingestion.amendments import AMEND, INVALIDATE, announced, announced_table, version_of
from tests.ingestion.consignments import clear, consignment, put
from tests.ingestion.part_client import PLATFORM, PROVIDER, Ingestion, part
from tests.revenue import sales
from tests.support.databases import enterable_directory, reused_database
from tests.support.services import Running, running

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

SECONDS: Final = 60.0
CALL: Final[dict[str, Any]] = {"timeout": SECONDS, "wait_for_ready": True}
MARKETPLACE: Final = "bazaar.example"
ELEMENTS: Final = {"payment.payer": ("bank", PROVIDER), "buyer.name": (MARKETPLACE, PLATFORM)}
"""What parts add, and who files them."""
NAMES: Final = ("", "Ada Example", "Bob Example")
PRICES: Final = (1_000, 2_000)
OWNERS: Final = ("shop", "shop", "rival", "shop", "shop")
"""Who files the consignment of each slot."""
ORDERS: Final = (0, 1, 0, 3, 4)
"""The order that it names: the rival names one of the shop's."""
BY_DOCUMENT: Final = 4
"""The slot, and its order, whose consignment states no order number: the sale names its house document. No part is linked to it by the order."""
SHARED_ORDER: Final = 0
LANES: Final = ("GREEN", "GREEN", "GREEN", "YELLOW", "GREEN")
HELD: Final = {clearance_pb.STATE_HELD, clearance_pb.STATE_DOCUMENTS_REQUESTED}
STATES: Final = {
    ("GREEN", False): {clearance_pb.STATE_AWAITING_ARRIVAL},
    ("GREEN", True): {clearance_pb.STATE_RELEASED},
    ("YELLOW", False): HELD,
    ("YELLOW", True): HELD,
}
"""By lane, and by whether the goods have arrived."""
AMENDMENT_REFUSED: Final = clearance_pb.NOTICE_KIND_AMENDMENT_REFUSED
Stated = tuple[int, str, str]
"""What differs between versions of a filing: price, payer, buyer."""
PLACE: Final = st.integers(0, len(OWNERS) - 1)
STATED: Final = st.tuples(st.sampled_from(PRICES), st.sampled_from(NAMES), st.sampled_from(NAMES))
STEPS: Final = settings(
    max_examples=10, stateful_step_count=20, phases=[Phase.generate], print_blob=False, deadline=None
)
"""A failure is not made shorter: the services remember what an example did, and the steps of one are few."""
examples = itertools.count()


@dataclass
class Slot:
    """One consignment: what its filer stated, what parts state, and what clearance has applied."""

    place: int
    reference: str
    mrn: str = ""
    newest: Stated = (0, "", "")
    """What its filer stated last, as a whole."""
    is_withdrawn: bool = False
    """Whether its filer's newest version is an invalidation."""
    withdrawn_as: Stated = (0, "", "")
    """What it was with its parts when it was withdrawn."""
    parts: dict[str, list[str]] = field(default_factory=lambda: {path: [] for path in ELEMENTS})
    """Values that parts state, in the order of filing."""
    arrived_with: int = 0
    """The version with which the goods arrived; 0: they did not."""
    ended_with: int = 0
    """The version that invalidated it; 0: none."""
    applied_as: Stated = (0, "", "")
    """What it is in clearance, once clearance applies nothing more."""
    filed_after_sale: int = 0
    """The version of the sale with which its newest effective version was assessed; 0: there was none."""

    @property
    def owner(self) -> str:
        return OWNERS[self.place]

    @property
    def is_open(self) -> bool:
        """Whether clearance still applies a version."""
        return not (self.arrived_with or self.ended_with)

    def whole(self) -> Stated:
        """Return what the consignment is in ingestion: its filer's newest statement, and of the rest what the first part states."""
        if self.is_withdrawn:
            return self.withdrawn_as
        price, *stated = self.newest
        payer, buyer = (own or next(iter(some), "") for own, some in zip(stated, self.parts.values(), strict=True))
        return price, payer, buyer

    def effective(self) -> Stated:
        """Return what it is in clearance."""
        return self.whole() if self.is_open else self.applied_as


def stated_of(row: Consignment) -> Stated:
    return row.items[0].price.minor, row.payment.payer, row.buyer.name


class World:
    """Three services that serve, beside a risk that answers by the reference, and what was read of them."""

    def __init__(self, ports: dict[str, Running], urls: dict[str, str]) -> None:
        self.services = ports
        self.filing = Ingestion(ports["ingestion"], urls["ingestion"])
        self.notices: dict[str, Counter[tuple[int, int]]] = {}
        """By MRN, kind and version of each notice to the filer."""
        self._cursors = dict.fromkeys(set(OWNERS), "")
        self._stubs: dict[tuple[str, str, str], Any] = {}

    async def stub(self, service: str, kind: Any, ident: str, role: str = "filer") -> Any:
        key = f"{service}{kind.__name__}", role, ident
        if key not in self._stubs:
            self._stubs[key] = kind(await self.services[service].channel(role, ident))
        return self._stubs[key]

    async def submit(self, ident: str, rows: Sequence[Consignment], request: str) -> list[Any]:
        stub = await self.stub("ingestion", IngestionServiceStub, ident)
        call = ingestion_pb.SubmitConsignmentsRequest(request_id=request, consignments=rows)
        return list((await stub.SubmitConsignments(call, **CALL)).results)

    async def file_part(self, ident: str, row: parts_pb.FilingPart, request: str) -> Any:
        stub = await self.stub("ingestion", PartServiceStub, ident)
        call = parts_pb.FilePartsRequest(request_id=request, parts=[row])
        return (await stub.FileParts(call, **CALL)).results[0]

    async def sell(self, made: sales_pb2.Sale, request: str) -> str | int:
        """File a sale and return its version, or the reason of its refusal."""
        stub = await self.stub("revenue", SaleServiceStub, MARKETPLACE)
        call = sales_pb2.FileSalesRequest(request_id=request, sales=[made])
        return sales.outcomes((await stub.FileSales(call, **CALL)).results)[0]

    async def receipt(self, ident: str, mrn: str) -> Any:
        stub = await self.stub("ingestion", IngestionServiceStub, ident)
        key = ingestion_pb.ReceiptKey(mrn=mrn)
        return (await stub.GetReceipts(ingestion_pb.GetReceiptsRequest(keys=[key]), **CALL)).results[0]

    async def status(self, ident: str, mrn: str, role: str = "filer") -> Any:
        stub = await self.stub("clearance", ClearanceServiceStub, ident, role)
        query = clearance_pb.StatusQuery(mrn=mrn)
        return (await stub.GetStatus(clearance_pb.GetStatusRequest(queries=[query]), **CALL)).results[0]

    async def arrive(self, master: str) -> None:
        stub = await self.stub("clearance", ClearanceServiceStub, CARRIER, "carrier")
        arrival = clearance_pb.Arrival(master_document_number=master, conveyance_reference="LX0188")
        arrival.arrived_at.FromMicroseconds(time.time_ns() // 1_000)
        request = clearance_pb.RecordArrivalsRequest(request_id=f"a{master}", arrivals=[arrival])
        (result,) = (await stub.RecordArrivals(request, **CALL)).results
        assert not result.errors, result

    async def refusals(self, slot: Slot) -> set[int]:
        """Return the versions that clearance refused by its notices, each of which comes once."""
        stub = await self.stub("clearance", ClearanceServiceStub, slot.owner)
        while True:
            request = clearance_pb.PullNoticesRequest(cursor=self._cursors[slot.owner])
            answer = await stub.PullNotices(request, **CALL)
            for each in answer.notices:
                found = self.notices.setdefault(each.mrn, Counter())
                found[each.kind, each.filing_version] += 1
            self._cursors[slot.owner] = answer.next_cursor
            if not answer.notices:
                break
        refused = {key: count for key, count in self.notices.get(slot.mrn, {}).items() if key[0] == AMENDMENT_REFUSED}
        assert set(refused.values()) <= {1}, (slot, refused)
        return {version for _, version in refused}

    async def sale(self, order: str) -> Any:
        """Return a sale as officers see it, None where there is none."""
        stub = await self.stub("revenue", SaleServiceStub, "otto", "officer")
        request = sales_pb2.ListSalesRequest(platform=MARKETPLACE, order_numbers=[order])
        found = (await stub.ListSales(request, **CALL)).sales
        return found[0] if found else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def world(urls: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    for name in ("admission", "parts.linking"):
        monkeypatch.setattr(f"services.ingestion.commands.{name}.AGE_SECONDS_MAX", 0.0)
    home = enterable_directory()
    party = LocalCA(home / "tls", "luxor").issue(Role.SERVICE, "risk", server_hosts("risk"))
    server = grpc.aio.server()
    add_RiskServiceServicer_to_server(_Risk(Neighbours()), server)  # type: ignore[abstract]
    ports = {name: free_port() for name in urls}
    ports["risk"] = server.add_secure_port("127.0.0.1:0", server_credentials(party))
    await server.start()
    targets = {f"LUXOR_{name.upper()}_TARGET": f"dns:///127.0.0.1:{port}" for name, port in ports.items()}
    started = {}
    async with AsyncExitStack() as stack:
        for name, assemble in (("ingestion", ingestion), ("revenue", revenue), ("clearance", clearance)):
            environ = {**targets, f"LUXOR_{name.upper()}_PORT": str(ports[name]), "LUXOR_REVENUE_DEFERRED": "everyone"}
            started[name] = await stack.enter_async_context(
                running(name, assemble, urls[name], data_dir=home, environ=environ)
            )
        made = World(started, urls)
        await made.filing.register(MARKETPLACE, PLATFORM)
        await made.filing.register("bank", PROVIDER)
        yield made
    await server.stop(None)


async def until(what: Callable[[], Awaitable[Any]], expected: Any) -> None:
    """Wait until what is read is what is expected."""
    ends_at = time.monotonic() + 30.0
    while (found := await what()) != expected:
        assert time.monotonic() < ends_at, f"found {found}, expected {expected}"
        await asyncio.sleep(0.02)


class Filings(RuleBasedStateMachine):
    """Steps of several filers, a platform, a payment provider and a carrier."""

    runner: asyncio.Runner
    world: World
    failure: tuple[int, BaseException] | None = None
    """The step that failed first, and how."""

    def __init__(self) -> None:
        super().__init__()
        self.number = next(examples)
        self.steps = 0
        self.requests = 0
        self.slots = [Slot(place, f"{lane}-{self.number}-{place}") for place, lane in enumerate(LANES)]
        self.sold: dict[int, list[int]] = {}
        """Prices of the versions of each sale."""
        self._applied: dict[str, int] = {}
        """By MRN the version that clearance applied last."""
        self.answered: list[tuple[str, Consignment, str, Any]] = []
        """Filings and changes that were accepted: filer, content, request, receipt."""
        self.filed_parts: list[tuple[str, parts_pb.FilingPart]] = []

    def run(self, step: Coroutine[Any, Any, None]) -> None:
        """Do a step. After a failure all that follows, which Hypothesis repeats to report it, only has the same failure again."""
        self.steps += 1
        if self.failure is not None:
            step.close()
            if self.failure[0] == self.steps:
                raise self.failure[1]
            return
        try:
            self.runner.run(step)
        except BaseException as error:
            Filings.failure = self.steps, error
            raise

    def request(self) -> str:
        self.requests += 1
        return f"m{self.number}-{self.requests}"

    def order(self, number: int) -> str:
        return f"M{self.number}-{number}"

    def master(self, slot: Slot) -> str:
        return f"16{self.number:05d}{slot.place:04d}"

    def content(self, slot: Slot, stated: Stated, **values: Any) -> Consignment:
        row = consignment(slot.place)
        price, payer, buyer = stated
        row.local_reference, row.house_document.number = slot.reference, f"H-{slot.reference}"
        row.master_document.number, row.carrier_identifier = self.master(slot), CARRIER
        row.destination_country = "DE"
        row.declarant.name, row.declarant.identifier = "Broker", "DE123456789012345"
        row.order.platform, row.order.number = MARKETPLACE, self.order(ORDERS[slot.place])
        if slot.place == BY_DOCUMENT:
            row.order.ClearField("number")
        row.payment.provider = "bank"
        row.items[0].price.minor = price
        for path, value in zip(ELEMENTS, (payer, buyer), strict=True):
            if value:
                put(row, path, value)
        for path, value in values.items():
            setattr(row, path, value)
        return row

    async def accepted(self, ident: str, row: Consignment) -> Any:
        """File a row and return its receipt, or the reason of its refusal."""
        request = self.request()
        (result,) = await self.world.submit(ident, [row], request)
        if result.errors and not result.receipt.mrn:
            return result.errors[0].reason
        self.answered.append((ident, row, request, result.receipt))
        return result.receipt

    async def change(self, slot: Slot, row: Consignment) -> int:
        """File a change of the current version, again where a part made another one meanwhile, and return its version."""
        for _ in range(20):
            row.amended_version = (await self.world.receipt(slot.owner, slot.mrn)).receipt.version
            receipt = await self.accepted(slot.owner, row)
            if receipt != "VERSION_REPLACED":
                assert receipt.mrn == slot.mrn, receipt
                return int(receipt.version)
        raise AssertionError("the change was never accepted")

    @initialize(sold=st.sets(st.sampled_from(sorted(set(ORDERS)))), stated=st.lists(STATED, min_size=2, max_size=3))
    def begin(self, sold: set[int], stated: list[Stated]) -> None:
        """File some of the sales and consignments, so that most steps have an effect; the others come later or never."""

        async def file_them() -> None:
            for number in sorted(sold):
                await self._sell(number, PRICES[0])
            await asyncio.gather(*(self._file(slot, each) for slot, each in zip(self.slots, stated, strict=False)))

        self.run(file_them())

    @rule(slot=PLACE, stated=STATED)
    def file(self, slot: int, stated: Stated) -> None:
        self.run(self._file(self.slots[slot], stated))

    async def _file(self, slot: Slot, stated: Stated) -> None:
        if slot.mrn:
            return await self._amend(slot, stated)
        receipt = await self.accepted(slot.owner, self.content(slot, stated))
        slot.mrn, slot.newest = receipt.mrn, stated
        slot.filed_after_sale = len(self.sold.get(ORDERS[slot.place], ()))

    @rule(slot=PLACE, stated=STATED)
    def amend(self, slot: int, stated: Stated) -> None:
        self.run(self._amend(self.slots[slot], stated))

    async def _amend(self, slot: Slot, stated: Stated) -> None:
        if not slot.mrn:
            return
        await self.change(slot, self.content(slot, stated, function=AMEND))
        slot.newest, slot.is_withdrawn = stated, False
        if slot.is_open:
            slot.filed_after_sale = len(self.sold.get(ORDERS[slot.place], ()))

    @rule(slot=PLACE)
    def invalidate(self, slot: int) -> None:
        self.run(self._invalidate(self.slots[slot]))

    async def _invalidate(self, slot: Slot) -> None:
        if not slot.mrn or slot.is_withdrawn:
            return
        await self.world.filing.settled()
        whole = slot.whole()
        version = await self.change(slot, Consignment(local_reference=slot.reference, function=INVALIDATE))
        slot.is_withdrawn, slot.withdrawn_as = True, whole
        if slot.is_open:
            slot.ended_with, slot.applied_as = version, whole

    @rule(path=st.sampled_from(sorted(ELEMENTS)), slot=PLACE, value=st.sampled_from(NAMES[1:]))
    def file_part(self, path: str, slot: int, value: str) -> None:
        self.run(self._file_part(path, self.slots[slot], value))

    async def _file_part(self, path: str, slot: Slot, value: str) -> None:
        filer, role = ELEMENTS[path]
        order = ORDERS[slot.place]
        if slot.place == BY_DOCUMENT:
            return
        if sum(each.order.number == self.order(order) for by, each in self.filed_parts if by == filer) == 5:
            return
        content = put(Consignment(), path, value)
        reference = f"P{self.number}-{len(self.filed_parts)}"
        row = part(reference, role, content, consignment_filer=slot.owner)
        row.order.platform, row.order.number = MARKETPLACE, self.order(order)
        self.filed_parts.append((filer, row))
        result = await self.world.file_part(filer, row, self.request())
        assert result.receipt.reference, result
        for each in self.slots:
            if ORDERS[each.place] == order and each.owner == slot.owner:
                before = each.whole()
                each.parts[path].append(value)
                if each.is_open and each.whole() != before:
                    each.filed_after_sale = len(self.sold.get(order, ()))

    @rule(place=st.integers(0, 30))
    def repeat_a_part(self, place: int) -> None:
        self.run(self._repeat_a_part(place))

    async def _repeat_a_part(self, place: int) -> None:
        if not self.filed_parts:
            return
        filer, row = self.filed_parts[place % len(self.filed_parts)]
        result = await self.world.file_part(filer, row, self.request())
        assert result.receipt.reference == row.reference
        other = parts_pb.FilingPart()
        other.CopyFrom(row)
        other.consignment.payment.payer = other.consignment.buyer.name = "Cem Example"
        other.consignment.ClearField("buyer" if row.role == PROVIDER else "payment")
        result = await self.world.file_part(filer, other, self.request())
        assert result.errors[0].reason == "PART_REFERENCE_REUSED"

    @rule(place=st.integers(0, 60), is_same_request=st.booleans())
    def repeat(self, place: int, is_same_request: bool) -> None:
        self.run(self._repeat(place, is_same_request))

    async def _repeat(self, place: int, is_same_request: bool) -> None:
        if self.answered:
            ident, row, request, receipt = self.answered[place % len(self.answered)]
            (result,) = await self.world.submit(ident, [row], request if is_same_request else self.request())
            assert result.receipt == receipt, (result, receipt)

    @rule(slot=PLACE, stated=STATED, kind=st.integers(0, 6))
    def refused(self, slot: int, stated: Stated, kind: int) -> None:
        """File what nobody may file: it has one reason, and no effect."""
        self.run(self._refused(self.slots[slot], stated, kind))

    async def _refused(self, slot: Slot, stated: Stated, kind: int) -> None:
        if not slot.mrn:
            return
        stranger = "rival" if slot.owner == "shop" else "shop"
        current = (await self.world.receipt(slot.owner, slot.mrn)).receipt.version
        row = self.content(slot, stated, function=AMEND, amended_version=current)
        ident, expected = slot.owner, ""
        if kind == 0:
            row.destination_country, expected = "FR", "ELEMENT_NEVER_AMENDED"
        elif kind == 1:
            row.amended_version, expected = current + 1, "AMENDED_VERSION_UNKNOWN"
        elif kind == 2:
            row.gross_mass_mg, expected = row.gross_mass_mg + 1, "VERSION_REPLACED"
            row.amended_version = current - 1
            if current == 1:
                expected = "REFERENCE_REUSED"
                row.ClearField("function")
                row.ClearField("amended_version")
        elif kind in (3, 4):
            ident, expected = stranger, "AMENDED_FILING_UNKNOWN"
            if kind == 4:
                row = Consignment(function=INVALIDATE, amended_version=current)
            row.ClearField("local_reference")
            row.amended_mrn = slot.mrn
        elif kind == 5:
            assert (await self.world.receipt(stranger, slot.mrn)).error.reason == "RECEIPT_UNKNOWN"
            assert (await self.world.status(stranger, slot.mrn)).error.reason == "CONSIGNMENT_UNKNOWN"
            return
        else:
            platform, role = ELEMENTS["buyer.name"]
            content = put(Consignment(), "buyer.name", "Eve Example")
            link = {"order": self.order(ORDERS[slot.place])}
            unregistered = part(f"N{self.request()}", role, content, **link)
            of_anybody = part(f"N{self.request()}", role, content, consignment_filer="", **link)
            for by, some, reason in (
                (stranger, unregistered, "PARTY_ROLE_NOT_REGISTERED"),
                (platform, of_anybody, "ELEMENT_MISSING"),
            ):
                result = await self.world.file_part(by, some, self.request())
                assert [each.reason for each in result.errors] == [reason], result
            return
        # A part may make a version meanwhile.
        receipt = await self.accepted(ident, row)
        assert receipt in (expected, "VERSION_REPLACED" if kind in (0, 1) else expected), (kind, receipt)

    @rule(
        number=st.sampled_from(sorted(set(ORDERS))),
        price=st.sampled_from(PRICES),
        step=st.sampled_from((0, 0, 0, -1, 1)),
    )
    def sell(self, number: int, price: int, step: int) -> None:
        """File a version of a sale: the next one, one that is there already, or one that is too new."""
        self.run(self._sell(number, price, step))

    async def _sell(self, number: int, price: int, step: int = 0) -> None:
        versions = self.sold.get(number, [])
        replaced = max(0, len(versions) + step)
        if replaced == len(versions):
            # What was filed before is compared with the sale before, or with none.
            await self._settled(number)
            expected: Any = replaced + 1
            self.sold[number] = [*versions, price]
        elif replaced < len(versions):
            expected = (
                replaced + 1 if versions[replaced] == price else "VERSION_REPLACED" if replaced else "ORDER_REUSED"
            )
        else:
            expected = "AMENDED_VERSION_UNKNOWN" if versions else "AMENDED_SALE_UNKNOWN"
        documents = [(CARRIER, f"H-{self.slots[number].reference}")] if number == BY_DOCUMENT else []
        made = sales.sale(self.order(number), price, replaces=replaced, documents=documents)
        assert [await self.world.sell(made, self.request()) for _ in range(2)] == [expected] * 2

    @rule(slot=PLACE)
    def arrive(self, slot: int) -> None:
        self.run(self._arrive(self.slots[slot]))

    async def _arrive(self, slot: Slot) -> None:
        if slot.mrn and slot.is_open:
            await self._settled(ORDERS[slot.place])
            slot.applied_as = slot.whole()
            await self.world.arrive(self.master(slot))
            slot.arrived_with = (await self.world.receipt(slot.owner, slot.mrn)).receipt.version
            await until(lambda: self._has_arrived(slot), True)

    async def _has_arrived(self, slot: Slot) -> bool:
        (status,) = (await self.world.status("otto", slot.mrn, "officer")).consignments
        return bool(status.movement.HasField("arrived_at"))

    @rule(
        steps=st.lists(
            st.tuples(st.sampled_from(("file", "amend", "part", "invalidate")), PLACE, STATED), min_size=2, max_size=4
        )
    )
    def at_once(self, steps: list[tuple[str, int, Stated]]) -> None:
        """Do steps of several consignments at the same time."""

        async def all_of_them() -> None:
            await asyncio.gather(*(self._step(*each) for each in {each[1]: each for each in steps}.values()))

        self.run(all_of_them())

    async def _step(self, kind: str, place: int, stated: Stated) -> None:
        slot = self.slots[place]
        if kind == "file":
            await self._file(slot, stated)
        elif kind == "amend":
            await self._amend(slot, stated)
        elif kind == "part":
            await self._file_part(sorted(ELEMENTS)[stated[0] == PRICES[0]], slot, stated[1] or NAMES[1])
        else:
            await self._invalidate(slot)

    @rule(slot=PLACE, first=STATED, second=STATED)
    def two_changes_of_one_version(self, slot: int, first: Stated, second: Stated) -> None:
        """Of two changes of one version at the same time one is accepted, and the other learns which version is current."""
        self.run(self._race(self.slots[slot], first, second))

    async def _race(self, slot: Slot, first: Stated, second: Stated) -> None:
        if not slot.mrn or first == second:
            return
        await self.world.filing.settled()
        current = (await self.world.receipt(slot.owner, slot.mrn)).receipt.version
        rows = [self.content(slot, each, function=AMEND, amended_version=current) for each in (first, second)]
        receipts = await asyncio.gather(*(self.accepted(slot.owner, row) for row in rows))
        refused = [each for each in receipts if each == "VERSION_REPLACED"]
        assert len(refused) == 1, receipts
        slot.newest, slot.is_withdrawn = (second if receipts[0] == "VERSION_REPLACED" else first), False
        if slot.is_open:
            slot.filed_after_sale = len(self.sold.get(ORDERS[slot.place], ()))

    @rule()
    def settle(self) -> None:
        self.run(self._settled())

    def teardown(self) -> None:
        self.run(self._settled())

    async def _settled(self, *orders: int) -> None:
        """Wait until the services are through, and compare all that they say of some orders, or of all, with the model."""
        await self.world.filing.settled()
        if not orders:
            await self._check_versions()
        for slot in self.slots:
            if slot.mrn and (not orders or ORDERS[slot.place] in orders):
                await self._check(slot)
        for number in self.sold:
            if not orders or number in orders:
                await self._check_sale(number)

    async def _check_versions(self) -> None:
        """Compare the newest version that ingestion announces of each consignment, of which each version comes once."""
        rows = await announced(self.world.filing.url)
        for slot in self.slots:
            versions = [each for each in rows if each.local_reference == slot.reference]
            assert [version_of(each) for each in versions] == list(range(1, len(versions) + 1)), slot
            if slot.mrn:
                assert (versions[-1].function == INVALIDATE) is slot.is_withdrawn, slot
                assert stated_of(versions[-1]) == slot.whole(), slot

    async def _check(self, slot: Slot) -> None:
        newest = (await self.world.receipt(slot.owner, slot.mrn)).receipt.version
        applied = slot.ended_with or slot.arrived_with or newest
        self._applied[slot.mrn] = applied
        refused = set(range(applied + 1, newest + 1))
        refused -= await self._only_contradicting(slot) if refused else set()
        await until(lambda: self.world.refusals(slot), refused)

        states = (
            {clearance_pb.STATE_INVALIDATED} if slot.ended_with else STATES[LANES[slot.place], bool(slot.arrived_with)]
        )

        async def decided() -> Any:
            found = (await self.world.status("otto", slot.mrn, "officer")).consignments
            if not found:
                return None
            return found[0].filing.version, found[0].debt.intrinsic_value_minor, found[0].state in states

        await until(decided, (applied, slot.effective()[0], True))

    async def _only_contradicting(self, slot: Slot) -> set[int]:
        """Return the versions that ingestion made to state other contradictions: they change no element, so nothing of them is refused."""
        table = await announced_table(self.world.filing.url)
        keys = zip(table.strings("local_reference").tolist(), table.ints("version").values.tolist(), strict=True)
        stated = {key: stated_of(row) for key, row in zip(keys, table.to_messages(Consignment), strict=True)}
        since = zip(stated, table.ints("unchanged_since").tolist(), strict=True)
        found = {key[1]: first for key, first in since if key[0] == slot.reference and first is not None}
        for version, first in found.items():
            assert stated[slot.reference, version] == stated[slot.reference, first], (slot, version, first)
        return set(found)

    async def _check_sale(self, number: int) -> None:
        """Compare a sale with the consignments that were filed or changed after it: those before it may be bound to it or not."""
        prices = self.sold[number]
        slots = [each for each in self.slots if ORDERS[each.place] == number and each.mrn and each.filed_after_sale]
        expected = {
            each.mrn: (0 if each.ended_with else self._applied[each.mrn], bool(each.ended_with)) for each in slots
        }

        async def bound() -> dict[str, tuple[int, bool]]:
            found = (await self.world.sale(self.order(number))).consignments
            return {
                each.mrn: (0 if each.withdrawn else each.filing_version, each.withdrawn)
                for each in found
                if each.mrn in expected
            }

        await until(bound, expected)
        sale = await self.world.sale(self.order(number))
        assert [sale.receipt.version, sale.sale.items[0].price.minor] == [len(prices), prices[-1]]
        counts = any(not each.withdrawn for each in sale.consignments)
        assert sale.state == (sales_pb2.SALE_STATE_DECLARED if counts else sales_pb2.SALE_STATE_OPEN)
        named = {each.mrn: each.house_document.number for each in sale.consignments}
        assert all(bool(each) == (number == BY_DOCUMENT) for each in named.values()), named
        if number != SHARED_ORDER:
            findings = {each.mrn: [one.reason for one in each.findings] for each in sale.consignments}
            for each in slots:
                if not each.ended_with:
                    differs = each.effective()[0] != prices[each.filed_after_sale - 1]
                    assert findings[each.mrn] == ["SALE_VALUE_DIFFERS"] * differs, (each, prices, findings)


@pytest.fixture
def urls(postgres: EmbeddedPostgres) -> Iterator[dict[str, str]]:
    with ExitStack() as stack:
        found = {}
        for name in ("ingestion", "revenue", "clearance"):
            package = f"services.{name}"
            define = partial(migrate, package=package)
            found[name] = stack.enter_context(reused_database(postgres, package, define))
        yield found


def test_any_sequence_makes_the_consignments_and_sales_that_the_docs_define(
    urls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with asyncio.Runner() as runner:
        opened = world(urls, monkeypatch)
        Filings.runner, Filings.world, Filings.failure = runner, runner.run(opened.__aenter__()), None
        try:
            run_state_machine_as_test(Filings, settings=STEPS)
        finally:
            runner.run(opened.__aexit__(None, None, None))


async def test_goods_that_arrived_with_the_minimum_set_are_released_with_a_declaration_that_changes_none_of_it(
    urls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    filings = Filings()
    slot = filings.slots[0]
    async with world(urls, monkeypatch) as services:

        async def file(version: int, **changed: int) -> None:
            values = {"function": AMEND, "amended_version": version} if version else {}
            row = filings.content(slot, (PRICES[0], "", ""), **values, **changed)
            for path in () if version else ("nature", "items[0].price", "items[0].commodity_code"):
                clear(row, path)
            (result,) = await services.submit(slot.owner, [row], f"c{version}")
            slot.mrn = result.receipt.mrn
            assert result.receipt.version == version + 1, result

        async def stands() -> Any:
            found = (await services.status("otto", slot.mrn, "officer")).consignments
            return found and (found[0].state, found[0].filing.version, found[0].debt.intrinsic_value_minor)

        await file(0)
        await until(stands, (clearance_pb.STATE_HELD, 1, 0))
        await services.arrive(filings.master(slot))
        await file(1, gross_mass_mg=7)
        await until(lambda: services.refusals(slot), {2})
        await file(2)
        await until(stands, (clearance_pb.STATE_RELEASED, 3, PRICES[0]))
        await file(3)
        await until(lambda: services.refusals(slot), {2, 4})
