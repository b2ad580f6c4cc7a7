"""An older copy of clearance's store is restored: what officers, agencies, carriers and filers did since is done again, and takes effect once.

Licences are written off as often as goods use them, nothing is released by itself, and statistics and the ledger agree with what is in force.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
import yaml

from libs.client.clearance import consistency, controls, officers, returns
from libs.client.clearance.carriers import present
from libs.client.clearance.cases import case_files
from libs.client.clearance.goods import licences, transit
from libs.client.clearance.goods.named import name_goods
from libs.client.clearance.work import claim, decide_proposals, proposals
from libs.client.client import Client
from libs.simulator import Simulator
from libs.store.embedded.server import EmbeddedPostgres
from luxor.clearance.v1 import carriers_pb2, control_pb2, controls_pb2, licence_pb2
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.risk.config import PROFILES
from tests.fault import checks
from tests.support.databases import enterable_directory
from tests.support.flow import Flow, local_system
from tests.support.set_back import copied, own_server, put_back

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

BATCH: Final = 150
LICENSED: Final = ("61", "62", "95")
DAYS: Final = {"from": "2026-01-01", "law": "an example for tests"}
GOODS: Final = {
    "format": 1, "name": "tests", "version": "1", "source": "an example for tests",
    "jurisdictions": [{"jurisdiction": "EU", "areas": ["DE", "PL", "ES", "NL", "BE"], "controls": [
        {"goods": list(LICENSED), "authority": "toys", "reason": "TOY_LICENCE", "licence": {"type": "C400"}, **DAYS},
        {"goods": ["85"], "authority": "radio", "reason": "RADIO_EXAMINED", "control": {"form": "examination"}, **DAYS},
    ]}],
}  # fmt: skip
PRESENTATION: Final = {
    "format": 1,
    "rules": [{"jurisdiction": "EU", "areas": ["FR"], "due_minutes": 600, "article": "", "address": "", **DAYS}],
}
PROFILE: Final = {
    "base": "first_light.yaml", "name": "tests", "version": "1",
    "rules": [{
        "id": "TWO_OFFICERS", "version": 1, "judges": "consignment", "condition": "consignment.destination_country == 'IT'", "weight": 0,
        "lane": "red", "reason": "DOUBTED", "sentence": "Two officers decide.", "legal_basis": "An example for tests.", "owner": "tests",
        "valid_from": "2026-01-01", "second_person": True,
    }],
}  # fmt: skip
"""Toys and clothes need a licence, radios are examined, goods for France are presented, and those for Italy are decided by two officers."""
State = pb.State


def settings(directory: Path) -> dict[str, str]:
    """Write the law of the test, and return the settings that name it."""
    shutil.copytree(PROFILES, directory / "profiles")
    files = {"GOODS_CONTROLS": "goods.yaml", "PRESENTATION": "presentation.yaml", "PROFILE": "profiles/tests.yaml"}
    for name, text in zip(files.values(), (GOODS, PRESENTATION, PROFILE), strict=True):
        (directory / name).write_text(yaml.safe_dump(text))
    return {
        f"LUXOR_{'RISK' if name == 'PROFILE' else 'CLEARANCE'}_{name}": str(directory / file)
        for name, file in files.items()
    }


class Border:
    """Those who act, and what was filed."""

    def __init__(self, flow: Flow, clients: dict[str, Client], server: EmbeddedPostgres) -> None:
        self.flow = flow
        self.urls = {
            "clearance": server.url("luxor_clearance"),
            "revenue": EmbeddedPostgres(flow.system.data_dir).url("luxor_revenue"),
        }
        self.clients = clients
        self.rows: list[Consignment] = []
        self.lost: list[str] = []
        self.batches = list(Simulator(20_260_703, "load").batches(2 * BATCH, size=BATCH))

    async def file(self, name: str) -> list[str]:
        """File a batch, of which each second consignment of toys or clothes cites the licence of its declarant; return the MRNs."""
        rows = self.batches[len(self.rows) // BATCH]
        for place, row in enumerate(rows):
            for item in row.items:
                if place % 2 and item.commodity_code.startswith(LICENSED):
                    item.supporting_documents.add(type="C400", reference=f"L{row.declarant.identifier}")
        self.rows += rows
        await self.flow.submit(rows, name)
        return [self.flow.filed.accepted[row.local_reference] for row in rows]

    async def arrive(self, name: str) -> None:
        """Report the arrival of all that was filed, also of what was reported before."""
        self.flow._arrived.clear()
        await self.flow.arrive(self.rows, name=name)

    async def statuses(self) -> list[pb.ConsignmentStatus]:
        """Return how all consignments stand."""
        return await checks.histories(self.flow, list(self.flow.filed.accepted.values()))

    async def unread(self, reader: str, source: str) -> list[int]:
        """Return the partitions of a service's feed of which another one has not read all."""
        cursors = await self._rows(
            reader, "select partition, epoch, xid, seq from feed_cursor where source = $1", source
        )
        ends = await self._rows(
            source,
            "select distinct on (partition) partition, epoch, xid, seq from outbox order by partition, epoch desc, xid desc, seq desc",
        )
        read = {partition: place for partition, *place in cursors}
        return [partition for partition, *end in ends if read.get(partition, []) < end]

    async def _rows(self, service: str, statement: str, *arguments: str) -> list[Any]:
        connection = await asyncpg.connect(self.urls[service])
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def settled(self) -> list[pb.ConsignmentStatus]:
        """Wait until nothing is undecided or without its arrival, debts are as revenue has them, and statistics agree; return how all stand."""
        found: list[pb.ConsignmentStatus] = []
        wrong: list[str] = []

        async def agree() -> bool:
            try:
                # What clearance announces may change a debt, which it reads from revenue and announces in turn.
                for reader, source in (("revenue", "clearance"), ("clearance", "revenue"), ("revenue", "clearance")):
                    assert not await self.unread(reader, source), (reader, source)
                found[:] = await self.statuses()
                away = [each.mrn for each in found if not each.movement.HasField("arrived_at")]
                assert not away, away
                await checks.assert_statistics_agree(self.flow, found)
            except (AssertionError, IndexError) as error:
                wrong[:] = [repr(error)]
                return False
            return True

        try:
            await checks.until(agree, "all is decided and has arrived, and statistics agree", seconds=90)
        except TimeoutError:
            raise AssertionError(wrong) from None
        await checks.assert_nothing_set_aside(self.flow.system)
        await checks.assert_ledger_whole(self.flow, len(found), again=True)
        return found

    async def become(self, expected: Sequence[pb.ConsignmentStatus]) -> None:
        """Wait until the first consignments stand as expected, also after the debt events that revenue announces of what was restored.

        What was filed in the lost time may arrive before it is decided again, or after it.
        """
        found: list[tuple[str, str, Any, Any]] = []

        async def alike() -> bool:
            compared = different(expected, (await self.statuses())[: len(expected)])
            found[:] = [each for each in compared if each[1] != "versions" or each[0] not in self.lost]
            return not found

        try:
            await checks.until(alike, "what was done has the same effect", seconds=30)
        except TimeoutError:
            raise AssertionError(found) from None


def chosen(statuses: Sequence[pb.ConsignmentStatus], state: int, country: str = "", *, own: str = "") -> list[str]:
    """Return the MRNs of goods in a state, for a country, without controls or with those of an authority."""
    return [
        each.mrn
        for each in statuses
        if each.state == state
        and country in ("", each.filing.destination_country)
        and {control.authority for control in each.controls} == ({own} if own else set())
    ]


def lacking(statuses: Sequence[pb.ConsignmentStatus]) -> list[tuple[str, int, str]]:
    """Return MRN, item and licence of goods that lack one for a single item."""
    return [
        (each.mrn, each.licences[0].item_number, f"L{each.filing.declarant_identifier}")
        for each in statuses
        if each.state == State.STATE_DOCUMENTS_REQUESTED
        and len(each.licences) == 1
        and {control.authority for control in each.controls} == {"toys"}
    ]


class Acts:
    """What is done on goods after the copy, and done again after its restore with the same requests."""

    def __init__(self, border: Border, statuses: Sequence[pb.ConsignmentStatus], day: int) -> None:
        self.border = border
        self.day = day
        held, waiting = State.STATE_HELD, State.STATE_AWAITING_ARRIVAL
        self.plain = [each for each in chosen(statuses, held) if each not in set(chosen(statuses, held, "IT"))]
        self.two = chosen(statuses, held, "IT")
        self.radios = chosen(statuses, State.STATE_EXAMINATION, own="radio")
        self.docks = chosen(statuses, waiting, "FR")
        self.toys = lacking(statuses)
        self.released = chosen(statuses, State.STATE_RELEASED)

    async def carry_out(self) -> list[tuple[str, str, str]]:
        """Carry out all; return what became of each of the goods: what was done, state and refusal."""
        flow, clients = self.border.flow, self.border.clients
        officer, second, day = flow.officer, clients["otto"], self.day
        out, seized, destroyed, moved, moving, asked, cased = self.plain[:7]
        done: list[tuple[str, str, str]] = []

        def note(name: str, results: Sequence[dict[str, Any]]) -> None:
            done.extend((name, each.get("state", ""), each.get("error", {}).get("reason", "")) for each in results)

        async def disposed(mrn: str, kind: str) -> None:
            made = officers.disposal_of(mrn, kind=kind, reason="PROHIBITED_GOODS")
            note(kind, await officers.dispose(officer, [made], request_id=kind))

        refs = [pb.ConsignmentRef(mrn=out)]
        await officer.release(refs, reason="IN_ORDER", request_id="out")
        await disposed(seized, "seized")
        await disposed(destroyed, "destroyed")
        for request in (
            name_goods(transit.start_of("DE004600"), [moved, moving], request_id="start"),
            name_goods(transit.arrival_of(), [moved], request_id="there"),
        ):
            note("transit", (await transit.take_transit_step(officer, request))["results"])
        order = controls_pb2.ControlOrder(
            consignment=pb.ConsignmentRef(mrn=asked), form=control_pb2.CONTROL_FORM_DOCUMENTS, addressee=control_pb2.CONTROL_ADDRESSEE_FILER,
            reason="INVOICE_MISSING", text="Send the invoice."
        )  # fmt: skip
        note("order", await controls.carry_out(officer, "orders", [order], request_id="order"))
        answer = controls.answer_of(asked, 1, text="See the invoice.")
        note("answer", await controls.carry_out(flow.filer, "answers", [answer], request_id="answer"))
        note("claim", await claim(officer, [cased], request_id="claim"))
        opened = await case_files.open_case(officer, "Radios", [cased, *self.radios[:2]], request_id="case")
        note("case", opened["results"])
        conclusions = [controls.conclusion_of(mrn, 1, result="conform", reason="MARKED") for mrn in self.radios[:2]]
        note("conclude", await controls.carry_out(clients["radio"], "conclusions", conclusions, request_id="conclude"))
        named = [licences.write_off_of(mrn, item, "C400", number) for mrn, item, number in self.toys[:2]]
        note("write off", await licences.carry_out(clients["toys"], "items", named, request_id="named"))
        dock = name_goods(carriers_pb2.PresentConsignmentsRequest(), self.docks[:3], request_id="dock")
        note("present", (await present(flow.carrier, dock))["results"])
        await officer.release(
            [pb.ConsignmentRef(mrn=each) for each in self.two[:3]], reason="IN_ORDER", request_id="two"
        )
        for item in await proposals(second):
            if item["mrn"] in self.two[:2]:
                version = int(item["version"])
                key = f"confirm-{item['mrn']}"
                note(
                    "confirm",
                    await decide_proposals(
                        second, "confirm", [item["mrn"]], reason="IN_ORDER", expected_version=version, request_id=key
                    ),
                )
        until = (day + 20) * 86_400_000_000
        note(
            "returns",
            await returns.order_returns(
                flow.filer, self.released[:2], reason="undelivered", valid_until_micros=until, request_id="back"
            ),
        )
        left = int(time.time()) * 1_000_000
        await returns.record_departure(
            officer, "020-77777770", departed_at_micros=left, mrns=self.released[:1], request_id="left"
        )
        return done


def record(status: pb.ConsignmentStatus) -> dict[str, Any]:
    """Return what does not depend on when something was done."""
    movement = status.movement
    return {
        "versions": [(each.change, each.state) for each in status.history if each.change != pb.CHANGE_DEBT],
        "state": status.state,
        "office": status.decision.office,
        "controls": [(each.number, each.authority, each.reason, each.result, each.answer) for each in status.controls],
        "licences": [
            (each.item_number, each.number, each.outcome, each.quantity_millionths) for each in status.licences
        ],
        "proposals": [(each.kind, each.outcome, each.proposed_by, each.ended_by) for each in status.proposals],
        "transit": (status.transit.destination_office, status.transit.outcome),
        "presented": (movement.HasField("presentation_due_at"), movement.HasField("presented_at")),
        "debt": (
            status.debt.status,
            status.debt.payable_minor,
            status.debt.paid_minor,
            status.debt.refunded_minor,
            len(status.debt.charges),
        ),
    }


def different(
    first: Sequence[pb.ConsignmentStatus], second: Sequence[pb.ConsignmentStatus]
) -> list[tuple[str, str, Any, Any]]:
    """Return MRN, name and both values of what differs."""
    pairs = [(each.mrn, record(each), record(other)) for each, other in zip(first, second, strict=True)]
    return [(mrn, name, old[name], new[name]) for mrn, old, new in pairs for name in old if old[name] != new[name]]


async def assert_licences_agree(border: Border, statuses: Sequence[pb.ConsignmentStatus]) -> None:
    """Each licence is written off once for each item that uses it, and the store is consistent."""
    used: Counter[tuple[str, str, int]] = Counter()
    for each in await licences.licences(border.flow.officer):
        uses = [
            use
            for use in await licences.uses(border.flow.officer, "C400", each["number"], authority="toys")
            if "restored_at" not in use
        ]
        assert sum(int(use["quantity_millionths"]) for use in uses) == int(each.get("written_off_millionths", 0))
        used.update((each["number"], use["mrn"], int(use["item_number"])) for use in uses)
    written_off = licence_pb2.LICENCE_OUTCOME_WRITTEN_OFF
    assert used == Counter(
        (need.number, each.mrn, need.item_number)
        for each in statuses
        for need in each.licences
        if need.outcome == written_off
    )
    assert len(used) > 3
    pages = [page async for page in consistency.check(border.flow.officer)]
    assert [found for page in pages for found in page.inconsistencies] == []
    assert sum(page.consignments for page in pages) == len(statuses)


async def test_what_was_decided_in_the_lost_time_is_decided_again_and_takes_effect_once() -> None:
    directory = enterable_directory()
    try:
        with own_server("clearance") as server:
            env = settings(directory) | {
                "LUXOR_CLEARANCE_DATABASE_URL": server.account_url("luxor_clearance"), "LUXOR_CLEARANCE_SWEEP_SECONDS": "2",
            }  # fmt: skip
            async with local_system(env=env) as system, Flow(system) as flow:
                clients = {name: system.client("agency", name) for name in ("toys", "radio")}
                clients["otto"] = system.client("officer", "otto")
                border = Border(flow, clients, server)
                await decided_again(border, server)
                for client in clients.values():
                    await client.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def decided_again(border: Border, server: EmbeddedPostgres) -> None:
    flow = border.flow
    declarants = {row.declarant.identifier for rows in border.batches for row in rows}
    made = [
        licences.licence_of(
            "C400", f"L{holder}", holder=holder, jurisdiction="EU", from_day="2026-01-01", to_day="2099-12-31", goods=LICENSED,
            quantity_millionths=10**12, unit="KGM",
        )
        for holder in sorted(declarants)
    ]  # fmt: skip
    assert not [each for each in await licences.carry_out(border.clients["toys"], "licences", made) if "error" in each]
    before = await border.file("before")
    await flow.decided(before)
    free = chosen(await border.statuses(), State.STATE_AWAITING_ARRIVAL)
    exempt = set(chosen(await border.statuses(), State.STATE_AWAITING_ARRIVAL, "FR"))
    held = [pb.ConsignmentRef(mrn=mrn) for mrn in free if mrn not in exempt][:7]
    await flow.officer.hold(held, reason="TIP", request_id="hold")
    await border.arrive("arrivals")
    first = await border.settled()
    acts = Acts(border, first, int(time.time() // 86_400))
    copy = copied(server)
    done = await acts.carry_out()
    assert {reason for *_, reason in done} == {""}, done
    assert len({name for name, *_ in done}) == 12, done
    border.lost = lost = await border.file("lost")
    await border.arrive("arrivals-lost")
    last = await border.settled()
    put_back(server, copy)
    # What was filed is decided by itself, and nothing of what officers decided.
    await flow.decided(lost)
    await border.arrive("arrivals-again")
    restored = await border.settled()
    await border.become(first)
    await assert_licences_agree(border, restored)
    assert await acts.carry_out() == done
    again = await border.settled()
    await border.become(last)
    await assert_licences_agree(border, again)
