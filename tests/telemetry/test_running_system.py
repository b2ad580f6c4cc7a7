"""A whole system under real and hostile traffic: what its metrics and its logs tell, and what they never tell."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from libs.cli.local.supervisor import LocalSystem
from libs.client.errors import LuxorError
from libs.server.identity import Role
from libs.server.transport.channel import channel
from libs.server.transport.tls import LocalCA
from libs.simulator import Simulator
from luxor.clearance.v1.clearance_pb2 import STATE_RELEASED, ConsignmentStatus
from luxor.consignment.v1.consignment_pb2 import Consignment, Party
from tests.fault import checks
from tests.support.flow import Flow, local_system
from tools import metric_table

FILERS = 12
BATCH = 30
EVENTS = "luxor_feed_events_total"
MADE_UP_METHODS = 150
UNKNOWN_FIELD = b"\xb8\x3e\x01"
"""Field 999, which no contract has."""
SUBMIT = "/luxor.ingestion.v1.IngestionService/SubmitConsignments"
SERVICES = ("ingestion", "risk", "revenue", "clearance", "statistics")
CORE = {"time", "level", "service", "trace_id", "reason"}
PARTIES = ("consignor", "consignee", "seller", "buyer")
OPEN_METRICS = "application/openmetrics-text;version=1.0.0"

pytestmark = [pytest.mark.timeout(170), pytest.mark.long]


@dataclass
class ServiceSpan:
    """What was filed, and what the system told."""

    filed: list[Consignment] = field(default_factory=list)
    accepted: int = 0
    refused: int = 0
    mrns: list[str] = field(default_factory=list)
    statuses: list[ConsignmentStatus] = field(default_factory=list)
    metrics: dict[str, str] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def told() -> ServiceSpan:
    return asyncio.run(story())


async def story() -> ServiceSpan:
    """File as many filers, some of it wrong; be a broken client; wait until all is counted; read metrics and logs."""
    out = ServiceSpan()
    async with local_system(env={"LUXOR_TRACE_RATIO": "1"}) as system:
        batches = Simulator(20_261_125, "everyday").batches(FILERS * BATCH, size=BATCH)
        for number, rows in enumerate(batches):
            personal(rows, number)
            spoil(rows)
            out.filed += rows
            async with Flow(system, filer=f"filer-{number}-geheim") as flow:
                await flow.submit(rows, f"running-{number}")
                await flow.arrive(rows, name=f"running-{number}")
                out.accepted += len(flow.filed.accepted)
                out.refused += len(flow.filed.refused)
                out.mrns += flow.filed.accepted.values()
        async with Flow(system, filer="filer-0-geheim") as flow:
            await misuse(system, flow)
            for port in (system.ports["ingestion"].main, system.ports["clearance"].metrics):
                await asyncio.to_thread(babble, port)
            await flow.settled(out.accepted, seconds=90)
            out.statuses = await checks.histories(flow, out.mrns)

        async def have_followed() -> bool:
            """Read the metrics; return whether the services that pause between pages have taken all states."""
            for service in SERVICES:
                out.metrics[service] = await asyncio.to_thread(scrape, system.ports[service].metrics)
            taken = ([each.value for each in samples(out, name) if each.name == EVENTS] for name in ("risk", "revenue"))
            return min(map(sum, taken)) >= out.accepted

        await checks.until(have_followed, "risk and revenue have taken all states", seconds=30)
        directory = system.data_dir / "logs"
        system.stop()
        out.logs = {service: (directory / f"{service}.log").read_text("utf-8") for service in SERVICES}
    return out


def personal(rows: list[Consignment], number: int) -> None:
    """Give every party what could tell of a person."""
    for place, row in enumerate(rows):
        for name in PARTIES:
            party: Party = getattr(row, name)
            party.name = f"Erika Mustermann {number} {place} {name}"
            party.phone, party.email = f"+49301{number:03d}{place:04d}", f"{name}{number}x{place}@people.example"
            party.address.street = f"Heidestraße {number}/{place}"


def spoil(rows: list[Consignment]) -> None:
    """Make some wrong, with values that must not come back in metrics or logs."""
    for place, currency in ((0, "ZZZ"), (1, "XXX"), (2, "€€€"), (3, "Erika"), (4, "")):
        rows[place].items[0].price.currency = currency
    rows[5].destination_country = "QQ"
    rows[6].consignee.ClearField("name")
    rows[7].local_reference = ""
    rows[8].consignee.email = "Erika geheim \x00 \u202e"


async def misuse(system: LocalSystem, flow: Flow) -> None:
    """Call what is not there, send what is no message, call without a deadline, and as somebody who may not."""
    party = LocalCA(system.data_dir / "tls").issue(Role.FILER, "filer-1-geheim", ())
    async with channel(system.endpoints["ingestion"], party) as raw:

        async def call(method: str, payload: bytes, timeout: float = 5.0) -> None:
            with contextlib.suppress(grpc.RpcError):
                await raw.unary_unary(method, lambda sent: sent, lambda got: got)(payload, timeout=timeout)

        for number in range(MADE_UP_METHODS):
            await call(f'/luxor.ingestion.v1.IngestionService/Erika{number}"}}', b"")
        for payload in (b"\xff\xff\xff", b"\x0a\xff\xff\xff\xff\x0fErika Mustermann", b"", b"\x0a" * 100):
            await call(SUBMIT, payload)
        await call(SUBMIT, UNKNOWN_FIELD)
        await call(SUBMIT, b"\x00" * 9_000_000)
    for asking in (
        lambda: flow.filer.statistics(0, 1, group_by=["Erika Mustermann"], max_rows=1),
        lambda: flow.analyst.statistics(0, 1, group_by=["Erika Mustermann"], max_rows=1),
        lambda: flow.filer.submit([], request_id="Erika\nMustermann"),
    ):
        with contextlib.suppress(LuxorError, ValueError):
            await asking()


def babble(port: int) -> None:
    """Be a client that speaks no TLS, one without a certificate, and one that goes away in between."""
    for words in (b"GET / HTTP/1.1\r\nHost: Erika\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"Erika" * 50, b"\x00"):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
            plain.sendall(words)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain) as stranger,
    ):
        stranger.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        stranger.recv(1)


def scrape(port: int) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": OPEN_METRICS})
    with urllib.request.urlopen(request, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def samples(told: ServiceSpan, service: str) -> list[Any]:
    return [sample for family in text_string_to_metric_families(told.metrics[service]) for sample in family.samples]


def texts(message: Message) -> Iterator[str]:
    """Give every text in a message, however deep."""
    for descriptor, value in message.ListFields():
        for each in value if descriptor.is_repeated else [value]:
            if descriptor.message_type is not None:
                yield from texts(each)
            elif isinstance(each, str):
                yield each


def secrets_of(told: ServiceSpan) -> set[str]:
    """What could tell of a person."""
    found = {"Erika", "Mustermann", "people.example", "Heidestraße", "geheim \x00"}
    for row in told.filed:
        for name in PARTIES:
            party: Party = getattr(row, name)
            found |= {party.name, party.phone, party.email, party.address.street, party.identifier}
    return {each for each in found if len(each) > 4}


# -------------------------------------------------------------------------------------------------- metrics


@pytest.mark.parametrize("service", SERVICES)
def test_the_number_of_series_stays_within_the_bound(told: ServiceSpan, service: str) -> None:
    lines = [line for line in told.metrics[service].splitlines() if not line.startswith("#")]
    assert 50 < len(lines) < metric_table.SERIES_MAX


def test_no_label_holds_a_party_a_consignment_a_trace_or_a_name_that_a_caller_made_up(told: ServiceSpan) -> None:
    for service in SERVICES:
        labels = [value for sample in samples(told, service) for value in sample.labels.values()]
        assert labels
        everything = "\n".join(labels)
        for word in ("geheim", "flow-", "Erika", "ZZZ", "XXX", "QQ", "running-", *told.mrns[:50]):
            assert word not in everything, (service, word)
        assert not re.search(r"[0-9a-f]{32}", everything)


def test_every_metric_that_is_scraped_is_in_the_table_with_its_labels(told: ServiceSpan) -> None:
    known = {name: set(each.labels) for each in metric_table.declared() for name in each.series}
    for service in SERVICES:
        for sample in samples(told, service):
            if sample.name.startswith("luxor_") and not sample.name.endswith("_created"):
                assert sample.name in known, f"{service} tells {sample.name}, which the table does not know"
                assert set(sample.labels) - {"le"} == known[sample.name], sample


def test_the_figures_add_up(told: ServiceSpan) -> None:
    def total(service: str, name: str, **labels: str) -> float:
        return sum(
            sample.value
            for sample in samples(told, service)
            if sample.name == name and all(sample.labels[key] == value for key, value in labels.items())
        )

    assert told.refused >= FILERS
    assert total("ingestion", "luxor_ingestion_consignments_total", outcome="accepted") == told.accepted
    assert total("ingestion", "luxor_ingestion_consignments_total", outcome="refused") == told.refused
    assert total("clearance", "luxor_clearance_decisions_total") == told.accepted
    # What clearance counts is what it keeps: no trial, no rollback and no repeated page is in it.
    assert len(told.statuses) == told.accepted
    assert total("clearance", "luxor_clearance_states_total") == sum(each.version for each in told.statuses)
    assert total("clearance", "luxor_clearance_states_total", state="released") == sum(
        entry.state == STATE_RELEASED for each in told.statuses for entry in each.history
    )
    for kind in ("duty", "tax", "fee"):
        assert total("clearance", "luxor_clearance_charges_minor_total", kind=kind) == sum(
            getattr(each.debt, f"{kind}_minor") for each in told.statuses
        )
    assert total("clearance", "luxor_clearance_charges_minor_total", kind="tax") > 0
    assert total("risk", "luxor_risk_assessed_total") >= told.accepted
    assert total("statistics", "luxor_statistics_states_total", outcome="counted") >= told.accepted
    assert total("ingestion", "luxor_call_seconds_count", method=SUBMIT, code="OK") == FILERS
    assert total("ingestion", "luxor_call_seconds_count", method="unknown", code="UNIMPLEMENTED") == MADE_UP_METHODS
    for consumer, feeds in (("risk", 1), ("clearance", 3), ("statistics", 1), ("revenue", 1)):
        assert total(consumer, "luxor_feed_partitions_held") == 64 * feeds
        assert total(consumer, "luxor_feed_lag_seconds") < 30
        assert total(consumer, "luxor_feed_events_total") >= told.accepted
        assert total(consumer, "luxor_feed_dead_letters_waiting") == 0


def test_latencies_carry_traces(told: ServiceSpan) -> None:
    for service, name in (("ingestion", "luxor_call_seconds"), ("clearance", "luxor_clearance_decision_seconds")):
        traces = {
            sample.exemplar.labels["trace_id"]
            for sample in samples(told, service)
            if sample.name == f"{name}_bucket" and sample.exemplar is not None
        }
        assert traces, f"{name} of {service} leads to no trace"
        assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in traces)


# -------------------------------------------------------------------------------------------------- logs


@pytest.mark.parametrize("service", SERVICES)
def test_every_line_is_one_json_event_with_its_keys(told: ServiceSpan, service: str) -> None:
    lines = told.logs[service].splitlines()
    reasons = []
    for line in lines:
        event = json.loads(line)
        assert list(event)[: len(CORE)] == ["time", "level", "service", "trace_id", "reason"]
        assert event["service"] == service
        assert event["level"] in {"debug", "info", "warning", "error"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", event["time"])
        assert re.fullmatch(r"([0-9a-f]{32})?", event["trace_id"])
        reasons.append(event["reason"])
    # Risk reads its lists before it starts, and the shipped one has invented names.
    begins = ["SAMPLE_LIST_ACTIVE", "STARTED"] if service == "risk" else ["STARTED"]
    assert reasons[: len(begins)] == begins
    assert {"READY", "STOPPED"} <= set(reasons)


def test_refusals_of_calls_are_told_with_the_trace_of_the_call(told: ServiceSpan) -> None:
    events = [json.loads(line) for line in told.logs["ingestion"].splitlines()]
    found = {event["reason"]: event for event in events}
    assert found["UNKNOWN_FIELD"]["role"] == "filer"
    for reason in ("UNDECODABLE", "MESSAGE_TOO_LARGE"):
        assert re.fullmatch(r"[0-9a-f]{32}", found[reason]["trace_id"]), reason
        assert found[reason]["method"] == SUBMIT


def test_no_line_tells_of_a_person(told: ServiceSpan) -> None:
    callers = {f"filer-{number}-geheim" for number in range(FILERS)} | {"flow-carrier", "flow-analyst", "flow-officer"}
    wanted = secrets_of(told) | callers
    assert len(wanted) > 1_000
    for service in SERVICES:
        text = json.dumps([json.loads(line) for line in told.logs[service].splitlines()], ensure_ascii=False)
        for secret in wanted:
            assert secret not in text, f"{service}'s log tells {secret!r}"


def test_no_reason_speaks_without_end(told: ServiceSpan) -> None:
    for service in SERVICES:
        windows: dict[tuple[str, str], int] = {}
        for line in told.logs[service].splitlines():
            event = json.loads(line)
            place = (event["reason"], event["time"][:19])
            windows[place] = windows.get(place, 0) + 1
        assert max(windows.values()) <= 21, "20 lines in ten seconds, and one that tells what was left out"
