"""The door of the sandbox: accounts call it, and it calls the services for them.

It makes the failures of cases, has the script played for what was accepted, and records what each account does. It forwards all else as it is.
An account is called for with its own certificate, so that the services themselves decide what it may do.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn, cast

import grpc
from google.protobuf.message import DecodeError

from libs import telemetry
from libs.client.errors import LuxorError
from libs.sandbox import filings
from libs.sandbox.cases import Selected, selected
from libs.sandbox.conversations import OK, REFUSED, Event
from libs.sandbox.findings import Finding, unchanged
from libs.sandbox.responses.calls import BY_METHOD, Call, Subject, is_accepted, write_reason
from libs.sandbox.responses.changes import Changes, Named, prior_id
from libs.sandbox.responses.failures import FAILURES, SLOW_SECONDS_MAX, CallFailure, other_call
from libs.sandbox.script import Script, ScriptFailed, Sleep
from libs.server import identity
from libs.server.admission.receiving import REQUEST_ID_KEY
from libs.server.errors import STATUS_KEY, Refusal, refusal_of
from libs.server.identity import Identity, Role
from libs.server.transport.channel import MESSAGE_BYTES_MAX, LuxorChannel, channel
from libs.server.transport.revocations import Revocations
from libs.server.transport.tls import LocalCA, server_credentials, server_hosts
from luxor.clearance.v1 import clearance_pb2, controls_pb2
from luxor.ingestion.v1 import ingestion_pb2

log = telemetry.get_logger()
ROLES: Final = (Role.FILER, Role.CARRIER)
"""Roles of accounts. All other parties are those of the sandbox itself."""
SCRIPTS_MAX: Final = 10_000
"""Consignments whose cases are played at one time."""
STARTED_MAX: Final = 100_000
"""References of which the sandbox remembers that their failure or their case has begun."""
CALLS_MAX: Final = 200
BUSY_SECONDS: Final = 1
BEYOND_SECONDS: Final = 1.0
"""For which a slow call stays without an answer after its deadline."""
ROWS_MAX: Final = 1_000
"""Messages of another call than a filing that select cases; the services take no more."""
_PULL: Final = "/luxor.clearance.v1.ClearanceService/PullNotices"
_ANSWER: Final = "/luxor.clearance.v1.ControlService/AnswerControls"
_HEALTH: Final = "/grpc.health.v1.Health/Check"
_SERVING: Final = b"\x08\x01"
"""HealthCheckResponse with the status SERVING."""
_PASSED_ON: Final = ("traceparent", REQUEST_ID_KEY)

Key = tuple[str, str]
"""Account and local reference."""


class Proxy(grpc.GenericRpcHandler):
    """Serves every method of the services to the accounts of the sandbox."""

    def __init__(
        self,
        targets: Mapping[str, str],
        authority: LocalCA,
        script: Script,
        record: Callable[[Event], None],
        *,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Forward to `targets` by service; `authority` is that of the sandbox, `record` takes events, `clock` is seconds since 1970."""
        self._targets = targets
        self._authority = authority
        self._revocations = Revocations(authority.directory)
        self._script = script
        self._write = record
        self._sleep = sleep
        self._clock = clock
        self._channels: dict[tuple[Identity, str], LuxorChannel] = {}
        self._failures: dict[Key, float] = {}
        """When the failure of a reference ends, for those that it began for."""
        self._changes = Changes()
        self._played: dict[Key, None] = {}
        self._scripts: set[asyncio.Task[None]] = set()
        self._calls = 0

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a method: it takes and returns bytes."""
        method: str = handler_call_details.method

        async def serve(raw: bytes, context: Any) -> bytes:
            try:
                if method == _HEALTH:
                    return _SERVING
                if self._calls >= CALLS_MAX:
                    raise Refusal("OVERLOADED", in_flight=self._calls, retry_after_seconds=float(BUSY_SECONDS))
                self._calls += 1
                try:
                    return await self._serve(method, raw, context)
                finally:
                    self._calls -= 1
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                refusal = refusal_of(error)
                if refusal.reason == "INTERNAL" and not isinstance(error, Refusal):
                    log.error("INTERNAL", error, method=method, **refusal.facts)
                await _abort(context, refusal)

        return grpc.unary_unary_rpc_method_handler(cast(Any, serve))

    async def close(self) -> None:
        """End the scripts and the connections."""
        for task in self._scripts:
            task.cancel()
        await asyncio.gather(*self._scripts, return_exceptions=True)
        await self._script.close()
        for each in self._channels.values():
            await each.close()

    # ── a call ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _serve(self, method: str, raw: bytes, context: Any) -> bytes:
        auth_context = context.auth_context()
        caller = identity.from_auth_context(auth_context, self._authority.deployment)
        self._revocations.check(auth_context)
        if caller.role not in ROLES:
            raise Refusal("ROLE_NOT_ALLOWED", role=caller.role, method=method, roles=", ".join(ROLES))
        if method in (filings.MESSAGES, filings.COLUMNS) and caller.role is Role.FILER:
            return await self._file(method, raw, caller, context)
        if method in BY_METHOD and caller.role is BY_METHOD[method].role:
            return await self._send(BY_METHOD[method], raw, caller, context)
        answer = await self._forward(method, raw, caller, context)
        self._note(method, raw, answer, str(caller))
        return answer

    def _record(self, event: Event) -> None:
        """Record an event; a call that a service has answered does not fail because the file cannot be written."""
        try:
            self._write(event)
        except OSError as error:
            log.error("SANDBOX_NOT_RECORDED", error, account=event.account)

    async def _forward(self, method: str, raw: bytes, caller: Identity, context: Any) -> bytes:
        """Call the service as the account does; its error is the error of this call."""
        area = method.removeprefix("/luxor.").partition(".")[0]
        if not method.startswith("/luxor.") or area not in self._targets:
            raise Refusal("METHOD_UNKNOWN", method=method)
        found = self._channels.get((caller, area))
        if found is None:
            party = await asyncio.to_thread(self._authority.issue, caller.role, caller.id)
            found = self._channels.setdefault((caller, area), channel(self._targets[area], party))
        metadata = [(key, value) for key, value in context.invocation_metadata() or () if key in _PASSED_ON]
        try:
            return bytes(await found.unary_unary(method)(raw, timeout=context.time_remaining(), metadata=metadata))
        except grpc.aio.AioRpcError as error:
            trailers = tuple((key, value) for key, value in error.trailing_metadata() or () if key == STATUS_KEY)
            await context.abort(error.code(), error.details() or "", trailers)
            raise AssertionError("abort raises") from None

    def _note(self, method: str, raw: bytes, answer: bytes, account: str) -> None:
        """Record the notices that an account read, and the controls that it answered."""
        now = self._clock()
        if method == _PULL:
            for notice in clearance_pb2.PullNoticesResponse.FromString(answer).notices:
                kind = clearance_pb2.NoticeKind.Name(notice.kind).removeprefix("NOTICE_KIND_")
                at = notice.time.ToMicroseconds() / 1e6
                self._record(Event("noticed", account, at, mrn=notice.mrn, detail=kind))
        elif method == _ANSWER:
            answers = controls_pb2.AnswerControlsRequest.FromString(raw).answers
            results = controls_pb2.AnswerControlsResponse.FromString(answer).results
            for each, result in zip(answers, results, strict=False):
                code = result.error.reason if result.HasField("error") else OK
                self._record(Event("answered", account, now, mrn=each.consignment.mrn, code=code))

    # ── filings ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _file(self, method: str, raw: bytes, caller: Identity, context: Any) -> bytes:
        """Make the failure that a consignment selects, or file, and have the cases of what is accepted played."""
        filing = filings.read(method, raw)
        if filing is None:
            return await self._forward(method, raw, caller, context)
        account = str(caller)
        chosen = {
            place: found
            for place, row in enumerate(filing.rows)
            if not row.is_change and (found := selected(row.reference))
        }
        if len(self._scripts) + len(chosen) > SCRIPTS_MAX:
            raise Refusal("OVERLOADED", in_flight=len(self._scripts), retry_after_seconds=float(BUSY_SECONDS))
        failure, retry_at = self._failure(
            {(account, filing.rows[place].reference): each for place, each in chosen.items()}
        )
        if failure is not None and failure is not CallFailure.LOST:
            await self._fail(failure, retry_at, raw, method, filing, caller, context)
        provoked = self._changes.findings_of(account, filing.request_id, _named(filing))
        for place, each in provoked.items():
            if each.prior is not None:
                other = filings.single_call(method, raw, place, each.prior, prior_id(filing.request_id, place))
                if other is not None:
                    await self._file_before(other, caller, context, is_decided=each.amends)
        rows = filing.rows
        if changes := {place: each.change for place, each in provoked.items() if each.change is not unchanged}:
            raw = filings.changed(method, raw, changes)
            spoiled = filings.read(method, raw)
            rows = rows if spoiled is None else spoiled.rows
        deferred = [place for place, each in chosen.items() if not each.case.owes]
        why = await self._open_accounts(caller, [rows[place] for place in deferred])
        response = ingestion_pb2.SubmitConsignmentsResponse.FromString(
            await self._forward(method, raw, caller, context)
        )
        _write(response.results, provoked, "consignments", caller)
        mrns = [each.receipt.mrn for each in response.results]
        for place, selection in chosen.items():
            self._begin((account, filing.rows[place].reference), mrns[place], selection)
            if why and mrns[place] and place in deferred:
                self._record(Event("failed", account, self._clock(), mrn=mrns[place], detail=why))
        code = OK if failure is None else grpc.StatusCode.UNAVAILABLE.name
        self._filed(account, filing, code, failure, mrns=mrns)
        if failure is not None:
            raise Refusal("SHUTTING_DOWN")
        return response.SerializeToString()

    async def _file_before(self, raw: bytes, caller: Identity, context: Any, *, is_decided: bool) -> None:
        """File a call of the sandbox for the account; with `is_decided`, wait until clearance decided on it, so that its notices come first."""
        response = ingestion_pb2.SubmitConsignmentsResponse.FromString(
            await self._forward(filings.MESSAGES, raw, caller, context)
        )
        receipt = response.results[0].receipt
        if is_decided and receipt.mrn:
            try:
                await self._script.await_version(receipt.mrn, receipt.version)
            except (LuxorError, ScriptFailed) as error:
                log.warning("SANDBOX_SCRIPT_FAILED", cause=str(error))

    async def _fail(
        self,
        failure: CallFailure,
        retry_at: float,
        raw: bytes,
        method: str,
        filing: filings.Filing,
        caller: Identity,
        context: Any,
    ) -> NoReturn:
        """Fail a call: by the service where it can be made to, and otherwise with the refusal that the service would give."""
        refusal = self._refusal(failure, retry_at)
        self._filed(str(caller), filing, refusal.code.name, failure, retry_at)
        call = FAILURES[failure].call
        if call is not None:
            await self._forward(filings.MESSAGES, call(filing.request_id), caller, context)
        elif failure is CallFailure.USED:
            await self._forward(filings.MESSAGES, other_call(filing.request_id), caller, context)
            await self._forward(method, raw, caller, context)
        elif failure is CallFailure.SLOW:
            await self._pass_deadline(context)
        # A service that accepts what it should refuse is a fault of the sandbox; the client still gets the answer of its case.
        raise refusal

    async def _pass_deadline(self, context: Any) -> None:
        """Wait until the caller's deadline is over for certain: an answer at that moment would race with the caller's own timer."""
        remaining = context.time_remaining()
        await self._sleep(SLOW_SECONDS_MAX if remaining is None else min(remaining + BEYOND_SECONDS, SLOW_SECONDS_MAX))

    def _failure(self, chosen: Mapping[Key, Selected]) -> tuple[CallFailure | None, float]:
        """Return the failure of this call, that of the first reference whose failure has not passed, and when the call may be sent again."""
        now = self._clock()
        for key, found in chosen.items():
            failure = found.case.failure
            if failure is None:
                continue
            ends_at = self._failures.get(key)
            if ends_at is None:
                seconds = (found.delay_seconds or BUSY_SECONDS) if FAILURES[failure].waits else 0
                self._failures[key] = ends_at = now + seconds
                _forget(self._failures)
                return failure, ends_at
            if now < ends_at:
                return failure, ends_at
        return None, 0.0

    def _refusal(self, failure: CallFailure, retry_at: float, call: Call | None = None) -> Refusal:
        """Return the refusal of a failure; `call`: that of another call than a filing."""
        how = FAILURES[failure]
        if failure is CallFailure.SLOW:
            return Refusal("DEADLINE_EXCEEDED", seconds=SLOW_SECONDS_MAX)
        facts = dict(how.facts)
        if call is not None and "method" in facts:
            (other,) = (each for each in ROLES if each is not call.role)
            own = {"method": call.name, "role": str(other), "roles": str(call.role)}
            facts |= {name: own[name] for name in own.keys() & facts.keys()}
        if call is not None and "store" in facts:
            facts["store"] = call.area
        seconds = max(0.0, retry_at - self._clock()) if how.waits else None
        return Refusal(how.reason, retry_after_seconds=seconds, **facts)

    def _filed(
        self,
        account: str,
        filing: filings.Filing,
        code: str,
        failure: CallFailure | None,
        retry_at: float = 0.0,
        mrns: Sequence[str] = (),
    ) -> None:
        """Record what became of each consignment of a call."""
        at = self._clock()
        for place, row in enumerate(filing.rows):
            mrn = mrns[place] if mrns else ""
            self._record(
                Event(
                    "filed", account, at, reference=row.reference, mrn=mrn, code=code if mrn or not mrns else REFUSED,
                    request_id=filing.request_id, digest=row.digest, house=row.house, function=row.function,
                    failure=failure.value if failure else "", retry_at=retry_at,
                )
            )  # fmt: skip

    async def _open_accounts(self, caller: Identity, rows: Sequence[filings.Row]) -> str:
        """Let the account defer what the goods of cases owe, unless the case is about a debt at the border; return why it failed, or ""."""
        declarants = sorted({row.declarant or caller.id for row in rows})
        if declarants:
            try:
                await self._script.open_accounts(declarants, caller.id)
            except ScriptFailed as error:
                log.warning("SANDBOX_SCRIPT_FAILED", cause=str(error))
                return str(error)
        return ""

    def _begin(self, key: Key, mrn: str, chosen: Selected) -> None:
        """Have the case of a consignment that was accepted played, once."""
        if not mrn or key in self._played:
            return
        self._played[key] = None
        _forget(self._played)

        async def play() -> None:
            try:
                await self._script.play(chosen, mrn)
            except Exception as error:
                # Whatever it is, the account is not to blame, and its report says so.
                log.warning("SANDBOX_SCRIPT_FAILED", cause=str(error))
                self._record(Event("failed", key[0], self._clock(), mrn=mrn, detail=str(error)))

        task = asyncio.get_running_loop().create_task(play(), name=f"case {chosen.case.name}")
        self._scripts.add(task)
        task.add_done_callback(self._scripts.discard)

    # ── other calls with references ──────────────────────────────────────────────────────────────────────────────

    async def _send(self, call: Call, raw: bytes, caller: Identity, context: Any) -> bytes:
        """Make the failure that a reference selects, or change the messages whose references select a case and record what became of each."""
        try:
            request = call.request_class.FromString(raw)
        except DecodeError:
            return await self._forward(call.method, raw, caller, context)
        rows = getattr(request, call.rows)[:ROWS_MAX]
        references = [getattr(row, call.reference) for row in rows]
        failing = {
            (str(caller), f"{call.subject.value} {name}"): each
            for name in references
            if (each := selected(name)) and each.case.failure and not FAILURES[each.case.failure].is_of_filings
        }
        failure, retry_at = self._failure(failing)
        if failure is CallFailure.SLOW:
            await self._pass_deadline(context)
        if failure is not None and failure is not CallFailure.LOST:
            raise self._refusal(failure, retry_at, call)
        found = {place: each for place, name in enumerate(references) if (each := selected(name, call.subject))}
        if call.subject is Subject.ARRIVAL:
            await self._bind(caller, [name for name in references if _is_of_carrier(name)])
        named = [Named(at, references[at], each.case.finding) for at, each in found.items() if each.case.finding]
        provoked = self._changes.findings_of(str(caller), request.request_id, named)
        for place, finding in provoked.items():
            if finding.prior is not None:
                other = call.request_class(request_id=prior_id(request.request_id, place))
                row = getattr(other, call.rows).add()
                row.CopyFrom(rows[place])
                finding.prior(row)
                await self._forward(call.method, other.SerializeToString(), caller, context)
            finding.change(rows[place])
        raw = request.SerializeToString() if provoked else raw
        answer = await self._forward(call.method, raw, caller, context)
        response = call.response_class.FromString(answer)
        _write(response.results, provoked, call.rows, caller)
        for place in found:
            code = OK if is_accepted(response.results[place]) else REFUSED
            self._record(
                Event(
                    "sent", str(caller), self._clock(), reference=references[place], code=code,
                    request_id=request.request_id, detail=call.subject.value,
                )
            )  # fmt: skip
        if failure is not None:
            raise self._refusal(failure, retry_at, call)
        return response.SerializeToString() if provoked else answer

    async def _bind(self, carrier: Identity, documents: Sequence[str]) -> None:
        """Bind the documents of cases to the carrier that reports them, so that nothing but their case refuses them."""
        if not documents:
            return
        try:
            await self._script.bind(carrier.id, documents)
        except ScriptFailed as error:
            log.warning("SANDBOX_SCRIPT_FAILED", cause=str(error))


def _named(filing: filings.Filing) -> list[Named]:
    """Return the consignments of a call whose references select a finding: of new filings, or of amendments."""
    named = []
    for place, row in enumerate(filing.rows):
        found = selected(row.reference)
        finding = found.case.finding if found else None
        if finding is not None and finding.amends == row.is_change:
            named.append(Named(place, row.reference, finding))
    return named


def _is_of_carrier(document: str) -> bool:
    return any(selected(document, each) is not None for each in (Subject.ARRIVAL, Subject.REVERSAL, Subject.DEPARTURE))


def _write(results: Any, provoked: Mapping[int, Finding], rows: str, caller: Identity) -> None:
    """Write the reasons that no message of an account provokes."""
    for place, finding in provoked.items():
        if finding.is_written and not is_accepted(results[place]):
            write_reason(results[place], finding, f"{rows}[{place}]", caller.id)


def _forget(store: dict[Key, Any]) -> None:
    """Forget the oldest reference where there are too many."""
    if len(store) > STARTED_MAX:
        del store[next(iter(store))]


async def _abort(context: Any, refusal: Refusal) -> NoReturn:
    status = refusal.status()
    await context.abort(refusal.code, status.message, ((STATUS_KEY, status.SerializeToString()),))
    raise AssertionError("abort raises")


def serve_on(
    proxy: Proxy, authority: LocalCA, host: str, port: int, names: Sequence[str] = ()
) -> tuple[grpc.aio.Server, int]:
    """Return the server of a proxy, not started yet, and its port; `names` are further names of this machine in its certificate.

    Raise RuntimeError for a port that cannot be used.
    """
    party = authority.issue(Role.SERVICE, "sandbox", server_hosts("sandbox", names))
    options = [
        ("grpc.max_receive_message_length", 2 * MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", 2 * MESSAGE_BYTES_MAX),
        ("grpc.so_reuseport", 0),
    ]
    # Twice what the proxy serves: gRPC's own refusal has no reason and no RetryInfo.
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=2 * CALLS_MAX)
    server.add_generic_rpc_handlers((proxy,))
    return server, server.add_secure_port(
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}", server_credentials(party)
    )
