"""The typed async client: one method a call that people make, over mutual TLS, with deadlines and retries.

    async with Client(endpoints, party) as client:
        response = await client.submit(consignments)

A call that changes something has a request_id; where none is given it is made anew, and retries keep it. Every method
raises LuxorError. Answers are the messages of the contracts.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final, Self, TypeVar

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from libs.client.errors import LuxorError, from_rpc
from libs.customs.time import day_text
from libs.server.errors import Refusal
from libs.server.transport.channel import LuxorChannel, channel, explain_unavailable, invoke
from libs.server.transport.tls import Material, Party
from libs.telemetry import trace
from luxor.clearance.v1 import clearance_pb2, clearance_pb2_grpc
from luxor.common.v1 import common_pb2
from luxor.consignment.v1.consignment_pb2 import DIRECTION_EXPORT, DIRECTION_IMPORT, Consignment
from luxor.feed.v1 import dead_letters_pb2, dead_letters_pb2_grpc
from luxor.ingestion.v1 import ingestion_pb2, ingestion_pb2_grpc
from luxor.revenue.v1 import revenue_pb2, revenue_pb2_grpc
from luxor.risk.v1 import risk_pb2, risk_pb2_grpc
from luxor.statistics.v1 import statistics_pb2, statistics_pb2_grpc
from luxor.trace.v1 import trace_pb2, trace_pb2_grpc

TIMEOUT_SECONDS: Final = 20.0
READY_SECONDS: Final = 30.0
"""How long to wait for a service that is absent or not ready, so that its restart is not noticed."""
NOTICES_WAIT_MILLIS: Final = 20_000
PROBE_SECONDS: Final = 0.2

Answer = TypeVar("Answer", bound=Message)


class Client:
    """What one party, known by its certificate, can ask of the services. Safe to use from many tasks of one loop."""

    def __init__(
        self,
        endpoints: Mapping[str, str],
        credentials: Party | Material,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        ready_seconds: float = READY_SECONDS,
    ) -> None:
        """Take gRPC targets by service; connections are opened at the first call. Raise TlsError for unreadable files.

        An answer may take `timeout_seconds`; a service that is away or not ready is waited for `ready_seconds` beside.
        """
        self.endpoints = dict(endpoints)
        self.credentials = credentials
        self.timeout_seconds = timeout_seconds
        self.ready_seconds = ready_seconds
        self._channels: dict[str, LuxorChannel] = {}
        self._stubs: dict[tuple[str, Any], Any] = {}

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        channels, self._channels = self._channels, {}
        self._stubs.clear()
        await asyncio.gather(*(channel.close() for channel in channels.values()))

    # ── filing ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def submit(
        self,
        consignments: Iterable[Consignment],
        *,
        request_id: str | None = None,
        timeout_seconds: float | None = None,
    ) -> ingestion_pb2.SubmitConsignmentsResponse:
        """File 1 to 1,000 consignments; one result each, in order. Role: filer."""
        request = ingestion_pb2.SubmitConsignmentsRequest(request_id=_id(request_id), consignments=consignments)
        return await self._call(
            ingestion_pb2.SubmitConsignmentsResponse, self._ingestion.SubmitConsignments, request, timeout_seconds
        )

    async def check(self, consignments: Iterable[Consignment]) -> ingestion_pb2.CheckConsignmentsResponse:
        """Return what filing 1 to 100 consignments would answer, their quality, goods controls and landed cost. Role: filer."""
        request = ingestion_pb2.CheckConsignmentsRequest(consignments=consignments)
        return await self._call(ingestion_pb2.CheckConsignmentsResponse, self._ingestion.CheckConsignments, request)

    async def receipts(
        self, *, mrns: Iterable[str] = (), local_references: Iterable[str] = ()
    ) -> ingestion_pb2.GetReceiptsResponse:
        """Return receipts again: those of the MRNs, then those of the references. Roles: filer, officer."""
        keys = [ingestion_pb2.ReceiptKey(mrn=each) for each in mrns]
        keys += [ingestion_pb2.ReceiptKey(local_reference=each) for each in local_references]
        return await self._call(
            ingestion_pb2.GetReceiptsResponse, self._ingestion.GetReceipts, ingestion_pb2.GetReceiptsRequest(keys=keys)
        )

    # ── what it costs, what is looked for ────────────────────────────────────────────────────────────────────────

    async def quote(self, consignments: Iterable[Consignment], *, as_of: int) -> revenue_pb2.QuoteConsignmentsResponse:
        """Return the landed cost of consignments; `as_of` is the day of acceptance assumed, microseconds since 1970."""
        request = revenue_pb2.QuoteConsignmentsRequest(as_of=_timestamp(as_of), consignments=consignments)
        return await self._call(revenue_pb2.QuoteConsignmentsResponse, self._revenue.QuoteConsignments, request)

    async def rulebooks(self) -> revenue_pb2.ListRulebooksResponse:
        """Return the loaded rulebooks."""
        return await self._call(
            revenue_pb2.ListRulebooksResponse, self._revenue.ListRulebooks, revenue_pb2.ListRulebooksRequest()
        )

    async def assessments(self, mrn: str) -> risk_pb2.ListAssessmentsResponse:
        """Return risk's stored answers on a consignment. Roles: officer, analyst."""
        request = risk_pb2.ListAssessmentsRequest(mrn=mrn)
        return await self._call(risk_pb2.ListAssessmentsResponse, self._risk.ListAssessments, request)

    async def check_goods(self, lines: Iterable[risk_pb2.GoodsLine], *, as_of: int) -> risk_pb2.CheckGoodsResponse:
        """Return whether goods may be sent and which documents they need; `as_of` is the day of acceptance assumed, microseconds since 1970."""
        request = risk_pb2.CheckGoodsRequest(as_of=_timestamp(as_of), lines=lines)
        return await self._call(risk_pb2.CheckGoodsResponse, self._risk.CheckGoods, request)

    async def suggest_codes(self, lines: Iterable[risk_pb2.DescribedGoods]) -> risk_pb2.SuggestCodesResponse:
        """Return up to five HS6 codes for each description, and the probability of a declared code."""
        request = risk_pb2.SuggestCodesRequest(lines=lines)
        return await self._call(risk_pb2.SuggestCodesResponse, self._risk.SuggestCodes, request)

    async def draw_seeds(self, *, page_size: int = 0, page_token: str = "") -> risk_pb2.ListSeedsResponse:
        """Return a page of the seeds by which consignments are drawn, the latest day first. Roles: officer, analyst, operator."""
        request = risk_pb2.ListSeedsRequest(page_size=page_size, page_token=page_token)
        return await self._call(risk_pb2.ListSeedsResponse, self._risk.ListSeeds, request)

    async def rule_set(self) -> risk_pb2.GetRuleSetResponse:
        """Return the active rules of risk. Roles: officer, analyst."""
        return await self._call(risk_pb2.GetRuleSetResponse, self._risk.GetRuleSet, risk_pb2.GetRuleSetRequest())

    # ── the life of a consignment ────────────────────────────────────────────────────────────────────────────────

    async def record_arrivals(
        self, arrivals: Iterable[clearance_pb2.Arrival], *, request_id: str | None = None
    ) -> clearance_pb2.RecordArrivalsResponse:
        """Announce 1 to 1,000 arrivals by master document. Role: carrier."""
        request = clearance_pb2.RecordArrivalsRequest(request_id=_id(request_id), arrivals=arrivals)
        return await self._call(clearance_pb2.RecordArrivalsResponse, self._clearance.RecordArrivals, request)

    async def status(
        self, queries: Iterable[clearance_pb2.StatusQuery], *, with_history: bool = False
    ) -> clearance_pb2.GetStatusResponse:
        """Return the status of consignments, one result for each query."""
        request = clearance_pb2.GetStatusRequest(queries=queries, with_history=with_history)
        return await self._call(clearance_pb2.GetStatusResponse, self._clearance.GetStatus, request)

    async def list_consignments(
        self,
        *,
        state: int = 0,
        lane: int = 0,
        from_day: int = 0,
        page_size: int = 0,
        page_token: str = "",
        audit: bool | None = None,
    ) -> clearance_pb2.ListConsignmentsResponse:
        """Return a page of consignments in a state (0: held), the oldest first; with `audit` (0: released) those to be audited."""
        request = clearance_pb2.ListConsignmentsRequest(
            state=clearance_pb2.State.ValueType(state),
            lane=common_pb2.Lane.ValueType(lane),
            accepted_from_day=day_text(from_day) if from_day else "",
            page_size=page_size,
            page_token=page_token,
            audit=audit,
        )
        return await self._call(clearance_pb2.ListConsignmentsResponse, self._clearance.ListConsignments, request)

    async def release(
        self,
        consignments: Iterable[clearance_pb2.ConsignmentRef],
        *,
        reason: str,
        note: str = "",
        request_id: str | None = None,
    ) -> clearance_pb2.ReleaseConsignmentsResponse:
        """Lift holds. Role: officer."""
        request = clearance_pb2.ReleaseConsignmentsRequest(
            request_id=_id(request_id), consignments=consignments, reason=reason, note=note
        )
        return await self._call(clearance_pb2.ReleaseConsignmentsResponse, self._clearance.ReleaseConsignments, request)

    async def hold(
        self,
        consignments: Iterable[clearance_pb2.ConsignmentRef],
        *,
        reason: str,
        note: str = "",
        request_id: str | None = None,
    ) -> clearance_pb2.HoldConsignmentsResponse:
        """Hold goods. Role: officer."""
        request = clearance_pb2.HoldConsignmentsRequest(
            request_id=_id(request_id), consignments=consignments, reason=reason, note=note
        )
        return await self._call(clearance_pb2.HoldConsignmentsResponse, self._clearance.HoldConsignments, request)

    async def record_inspections(
        self, inspections: Iterable[clearance_pb2.Inspection], *, request_id: str | None = None
    ) -> clearance_pb2.RecordInspectionsResponse:
        """Record what 1 to 1,000 inspections found. Role: officer."""
        request = clearance_pb2.RecordInspectionsRequest(request_id=_id(request_id), inspections=inspections)
        return await self._call(clearance_pb2.RecordInspectionsResponse, self._clearance.RecordInspections, request)

    async def pull_notices(
        self, after: str = "", *, page_size: int = 0, wait_millis: int = 0, language: str = "", filer: str = ""
    ) -> clearance_pb2.PullNoticesResponse:
        """Return the caller's notices after a cursor ("" from the first), waiting up to `wait_millis` for one; with a `language`, with texts.

        With a `filer` they are those of its declarations that are entrusted to the caller.
        """
        request = clearance_pb2.PullNoticesRequest(
            cursor=after, page_size=page_size, wait_millis=wait_millis, language=language, filer=filer
        )
        return await self._call(
            clearance_pb2.PullNoticesResponse,
            self._clearance.PullNotices,
            request,
            waiting_seconds=wait_millis / 1000,
        )

    async def notices(
        self, after: str = "", *, follow: bool = True, language: str = "", page_size: int = 0, filer: str = ""
    ) -> AsyncIterator[tuple[str, Sequence[clearance_pb2.Notice]]]:
        """Yield pages of the caller's notices, each with the cursor of the next page, which can be read again at any time.

        With a `language` (a tag such as "de") they have texts. A page has about `page_size` of them: those of one transaction are not split.
        `filer` is as of `pull_notices`.

        With `follow` it waits for more and never ends, and goes on by itself after a service was away.
        """
        while True:
            try:
                wait_millis = NOTICES_WAIT_MILLIS if follow else 0
                page = await self.pull_notices(
                    after, page_size=page_size, wait_millis=wait_millis, language=language, filer=filer
                )
            except LuxorError as error:
                if not follow or not error.unreachable or error.reason == "TLS_REFUSED":
                    raise
                await asyncio.sleep(PROBE_SECONDS)
                continue
            after = page.next_cursor
            if page.notices:
                yield after, page.notices
            elif not follow and not page.incomplete:
                return

    # ── figures, operators ───────────────────────────────────────────────────────────────────────────────────────

    async def statistics(
        self,
        from_day: int,
        to_day: int,
        *,
        group_by: Iterable[str] = (),
        filters: Mapping[str, Iterable[str]] | None = None,
        max_rows: int = 0,
        exports: bool = False,
    ) -> statistics_pb2.QueryStatisticsResponse:
        """Sum up days (since 1970) by dimensions named as in the contract without their prefix: "lane", "hs_chapter"; imports, or `exports`."""
        request = statistics_pb2.QueryStatisticsRequest(
            from_day=day_text(from_day),
            to_day=day_text(to_day),
            max_rows=max_rows,
            direction=DIRECTION_EXPORT if exports else DIRECTION_IMPORT,
        )
        request.group_by.extend(_dimension(each) for each in group_by)
        for name, values in (filters or {}).items():
            request.filters.add(dimension=_dimension(name), values=values)
        return await self._call(statistics_pb2.QueryStatisticsResponse, self._statistics.QueryStatistics, request)

    async def recount_statistics(self, *, request_id: str | None = None) -> statistics_pb2.RecountStatisticsResponse:
        """Count all consignments again that clearance still stores. Role: operator."""
        request = statistics_pb2.RecountStatisticsRequest(request_id=_id(request_id))
        return await self._call(statistics_pb2.RecountStatisticsResponse, self._statistics.RecountStatistics, request)

    async def dead_letters(
        self,
        service: str,
        *,
        source: str = "",
        key: str = "",
        reason: str = "",
        page_size: int = 0,
        page_token: str = "",
    ) -> dead_letters_pb2.ListDeadLettersResponse:
        """Return a page of a consumer's dead letters. Role: operator."""
        request = dead_letters_pb2.ListDeadLettersRequest(
            source=source, key=key, reason=reason, page_size=page_size, page_token=page_token
        )
        return await self._call(
            dead_letters_pb2.ListDeadLettersResponse, self._letters(service).ListDeadLetters, request
        )

    async def replay_dead_letters(
        self,
        service: str,
        *,
        ids: Iterable[int] = (),
        keys: Iterable[str] = (),
        everything: bool = False,
        request_id: str | None = None,
    ) -> dead_letters_pb2.ReplayDeadLettersResponse:
        """Make a consumer apply dead letters again: by id, by key, or all. Role: operator."""
        request = dead_letters_pb2.ReplayDeadLettersRequest(
            request_id=_id(request_id), ids=ids, keys=keys, all=everything
        )
        return await self._call(
            dead_letters_pb2.ReplayDeadLettersResponse, self._letters(service).ReplayDeadLetters, request
        )

    async def find_traces(
        self,
        service: str,
        *,
        mrn: str = "",
        trace_ids: Iterable[str] = (),
        since: int | None = None,
        timeout_seconds: float | None = None,
    ) -> trace_pb2.FindTracesResponse:
        """Return a service's records of a consignment, and the stored spans of its traces and of the named ones.

        `since` bounds the search of the traces named, microseconds since 1970. Roles: officer, operator.
        """
        request = trace_pb2.FindTracesRequest(mrn=mrn, trace_ids=trace_ids, since_micros=since)
        stub = self._stub(service, trace_pb2_grpc.TraceServiceStub)
        return await self._call(trace_pb2.FindTracesResponse, stub.FindTraces, request, timeout_seconds)

    async def is_ready(self, service: str, *, timeout_seconds: float = 2.0) -> bool:
        """Return whether a service reports that it is ready; raise LuxorError TLS_REFUSED if it refuses this client."""
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        channel = self._channel(service)
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=timeout_seconds
            )
        except grpc.aio.AioRpcError as error:
            found = await from_rpc(error, channel)
            if found.reason == "TLS_REFUSED":
                await asyncio.sleep(PROBE_SECONDS)  # one that meets a server just as it ends fails too
                again = await explain_unavailable(channel.target, channel.credentials)
                if again is not None and again.reason == "TLS_REFUSED":
                    raise found from None
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def wait_ready(self, *services: str, seconds: float = 60.0) -> None:
        """Wait until services (none named: all) are ready; raise LuxorError NOT_READY where they are not in time."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + seconds
        missing = list(services or self.endpoints)
        while True:
            answers = await asyncio.gather(*(self.is_ready(each) for each in missing))
            missing = [each for each, ready in zip(missing, answers, strict=True) if not ready]
            if not missing:
                return
            if clock() > deadline:
                raise LuxorError.from_reason("NOT_READY", missing=", ".join(missing))
            await asyncio.sleep(PROBE_SECONDS)

    async def ask(
        self,
        service: str,
        stub: Any,
        method: str,
        request: Any,
        kind: type[Answer],
        timeout_seconds: float | None = None,
    ) -> Answer:
        """Make a call that has no method of its own here, by the service's generated stub; a request_id that it lacks is made."""
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:
            request.request_id = _id(None)
        return await self._call(kind, getattr(self._stub(service, stub), method), request, timeout_seconds)

    # ── how ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _call(
        self,
        kind: type[Answer],
        method: Any,
        request: Message,
        timeout_seconds: float | None = None,
        *,
        waiting_seconds: float = 0.0,
    ) -> Answer:
        """Call; an answer that is waited for may take `waiting_seconds` more. Who gives a time of his own means all of it."""
        timeout = timeout_seconds or self.timeout_seconds + waiting_seconds
        patience = self.ready_seconds if timeout_seconds is None else 0.0
        # All tries of a call are of one trace: the caller's, where it has one. Whether it is sampled is the service's to say.
        metadata = None if trace.traceparent() else (("traceparent", trace.new_traceparent()),)
        try:
            answer = await invoke(method, request, timeout=timeout, patience=patience, metadata=metadata)
            assert isinstance(answer, kind), "a stub answers what its contract says"
            return answer
        except grpc.aio.AioRpcError as error:
            raise await from_rpc(error, getattr(method, "channel", None)) from None
        except Refusal as refusal:
            raise LuxorError.from_refusal(refusal) from None

    def _channel(self, service: str) -> LuxorChannel:
        found = self._channels.get(service)
        if found is None:
            target = self.endpoints.get(service)
            if target is None:
                raise LuxorError.from_reason("SERVICE_UNKNOWN", value=service, known=", ".join(sorted(self.endpoints)))
            found = self._channels[service] = channel(target, self.credentials)
        return found

    @property
    def _ingestion(self) -> Any:
        return self._stub("ingestion", ingestion_pb2_grpc.IngestionServiceStub)

    @property
    def _risk(self) -> Any:
        return self._stub("risk", risk_pb2_grpc.RiskServiceStub)

    @property
    def _revenue(self) -> Any:
        return self._stub("revenue", revenue_pb2_grpc.RevenueServiceStub)

    @property
    def _clearance(self) -> Any:
        return self._stub("clearance", clearance_pb2_grpc.ClearanceServiceStub)

    @property
    def _statistics(self) -> Any:
        return self._stub("statistics", statistics_pb2_grpc.StatisticsServiceStub)

    def _letters(self, service: str) -> Any:
        return self._stub(service, dead_letters_pb2_grpc.DeadLetterServiceStub)

    def _stub(self, service: str, kind: Any) -> Any:
        found = self._stubs.get((service, kind))
        if found is None:
            found = self._stubs[service, kind] = kind(self._channel(service))
        return found


def _id(request_id: str | None) -> str:
    return request_id or str(uuid.uuid4())


def _timestamp(micros: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(micros)
    return stamp


def _dimension(name: str) -> statistics_pb2.Dimension.ValueType:
    full = f"DIMENSION_{name.upper().replace('-', '_')}"
    try:
        return statistics_pb2.Dimension.Value(full)
    except ValueError:
        known = ", ".join(each.removeprefix("DIMENSION_").lower() for each in statistics_pb2.Dimension.keys()[1:])
        raise LuxorError.from_reason("CHOICE_MISNAMED", path="group_by", value=name, choices=known) from None
