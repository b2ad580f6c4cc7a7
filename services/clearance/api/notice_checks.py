"""The check of a notice by a buyer: the codes, the limits, and what a genuine code shows.

A wrong code, an unknown consignment and the code of another one are found by the same comparison, without a look into the store, so neither the
answer nor its time says which of them it was.
"""

import hmac
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import grpc.aio

from libs.columns import Table
from libs.customs.identifiers import mrn as mrns
from libs.customs.time import MICROS_PER_DAY, day_text
from libs.server import call
from libs.server.admission.rate import RateLimit
from libs.server.errors import Refusal
from libs.server.identity import Role
from libs.server.page_tokens import PageTokens
from libs.telemetry import counter
from luxor.clearance.v1 import notice_checks_pb2 as pb
from luxor.clearance.v1.notice_checks_pb2_grpc import NoticeCheckServiceServicer
from services.clearance.api.audit.access import AccessLog
from services.clearance.api.messages import lower_bounds, public
from services.clearance.consignment.state.times import owes_nothing, payable_now
from services.clearance.notices import check_code
from services.clearance.store import Store

ROLES: Final = {"CheckNotice": {Role.GATEWAY, Role.OFFICER}}
"""Who may call what."""
BURST_SECONDS: Final = 2
"""A caller may make the checks of so many seconds at once."""
SAME_SECONDS: Final = 60.0
"""A caller may repeat a check once in so many seconds,"""
SAME_AT_ONCE: Final = 10
"""and before that so often at once."""
_CALLERS_MAX: Final = 4_096
_CHECKS_MAX: Final = 65_536
_PURPOSE: Final = b"luxor check code 1"
_AMOUNTS: Final = ("vendor_collected_minor", "payable_minor", "paid_minor", "refunded_minor")

_checks = counter("luxor_clearance_notice_checks_total", "Checks of notices by their codes, by outcome", ("outcome",))
for _outcome in ("genuine", "not_genuine", "not_checkable", "no_longer_stored", "malformed", "limited"):
    _checks.labels(_outcome)


class CheckCodes:
    """Makes and verifies the check codes of consignments."""

    def __init__(self, pages: PageTokens) -> None:
        """Derive the keys from those of page tokens, which are stored for longer than any consignment."""
        self._pages = pages

    async def codes(self, numbers: Sequence[str]) -> list[str]:
        """Return the codes of MRNs."""
        key_number, key = await self._pages.newest_key(_PURPOSE)
        return [check_code.code_text(key_number, key, mrn) for mrn in numbers]

    async def is_genuine(self, code: check_code.Code, mrn: str) -> bool | None:
        """Return whether this deployment made a code for an MRN; None if no key with the number in the code is stored."""
        keys = await self._pages.former_keys(_PURPOSE, code.key, check_code.KEYS)
        found = False
        for key in keys or [bytes(32)]:
            found |= hmac.compare_digest(check_code.mac_of(key, mrn), code.mac)
        return found if keys else None


class NoticeCheckService(NoticeCheckServiceServicer):
    """Answers whether notices are genuine."""

    def __init__(self, store: Store, *, checks_per_second: float) -> None:
        """Serve from a store; a caller may make so many checks a second on this replica."""
        self._store = store
        self._accesses = AccessLog(store)
        self._codes = CheckCodes(PageTokens(store.database))
        self._callers = RateLimit(1 / checks_per_second, max(1, round(BURST_SECONDS * checks_per_second)), _CALLERS_MAX)
        self._same = RateLimit(SAME_SECONDS, SAME_AT_ONCE, _CHECKS_MAX)

    async def CheckNotice(
        self, request: pb.CheckNoticeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CheckNoticeResponse:
        """Check one code."""
        code = check_code.read_code(request.code)
        if code is None:
            _checks.labels("malformed").inc()
            raise Refusal("NOTICE_CODE_MALFORMED", path="code")
        if not mrns.is_valid(request.mrn):
            _checks.labels("malformed").inc()
            raise Refusal("MRN_MALFORMED", path="mrn", value=request.mrn)
        caller = call.current().identity
        # A repeated check reads the store each time if it is genuine. Other codes for the MRN do not count, or anybody could block its true one.
        wait = self._callers.wait(caller) or self._same.wait((caller, request.mrn, code))
        if wait:
            _checks.labels("limited").inc()
            raise Refusal("NOTICE_CHECKS_TOO_MANY", retry_after_seconds=wait, seconds=f"{wait:.2g}")
        genuine = await self._codes.is_genuine(code, request.mrn)
        if genuine is None:
            _checks.labels("not_checkable").inc()
            return pb.CheckNoticeResponse(outcome=pb.CHECK_OUTCOME_NOT_CHECKABLE)
        if not genuine:
            _checks.labels("not_genuine").inc()
            return pb.CheckNoticeResponse(outcome=pb.CHECK_OUTCOME_NOT_GENUINE)
        async with self._store.database.connection() as reading:
            row = (await self._store.find(reading, [request.mrn])).get(request.mrn)
            state = await self._store.states(reading, [row]) if row is not None else None
        if state is None:
            _checks.labels("no_longer_stored").inc()
            return pb.CheckNoticeResponse(outcome=pb.CHECK_OUTCOME_NO_LONGER_STORED)
        _checks.labels("genuine").inc()
        await self._accesses.record([request.mrn])
        return checked(state)


def checked(state: Table) -> pb.CheckNoticeResponse:
    """Return what the holder of a genuine code reads of a state, a table of one row."""
    state = public(state).with_columns({"payable_minor": payable_now(state)})
    response = pb.CheckNoticeResponse(
        outcome=pb.CHECK_OUTCOME_GENUINE,
        state=state.ints("state").tolist()[0],  # type: ignore[arg-type]
        released=bool(state.ints("released_at").valid[0]),
        changed_day=day_text(int(state.ints("changed_at").values[0]) // MICROS_PER_DAY),
        charges=_charges(state),
        currency=state.strings("revenue_currency").tolist()[0],
        debt_status=state.ints("debt_status").filled(0).tolist()[0],
        lower_bound=bool(lower_bounds(state)[0] and not owes_nothing(state)[0]),
    )
    for name in _AMOUNTS:
        amount = state.ints(name).tolist()[0]
        if amount is not None:
            setattr(response, name, amount)
    return response


def _charges(state: Table) -> list[pb.CheckedCharge]:
    lines = state.child("charges")
    names = [lines.ints(name).filled(0).tolist() for name in ("kind", "collector", "debtor", "scheme")]
    totals: Counter[tuple[int, ...]] = Counter()
    for key, amount in zip(zip(*names, strict=True), lines.ints("amount").filled(0).tolist(), strict=True):
        totals[key] += amount
    return [
        pb.CheckedCharge(kind=kind, collector=collector, debtor=debtor, scheme=scheme, amount_minor=amount)  # type: ignore[arg-type]
        for (kind, collector, debtor, scheme), amount in sorted(totals.items())
    ]
