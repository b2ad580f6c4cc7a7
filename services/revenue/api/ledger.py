"""The gRPC service of the ledger: accounts, balances, entries, statements, payments and proofs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import date, timedelta
from typing import Any, Final

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from libs.chain.hashing import START
from libs.chain.seals import Seal
from libs.customs.codes import tidy_code
from libs.customs.identifiers import mrn as mrns_of
from libs.customs.partitions import PARTITIONS
from libs.customs.time import MICROS_PER_DAY, day_of_date, day_text, stamp_text
from libs.server import call
from libs.server.errors import Refusal, item_error
from libs.server.identity import Role
from libs.server.page_tokens import PageTokens
from libs.server.requests import day_of_text, page_size_of, recalled
from libs.store.database import Database
from luxor.common.v1 import common_pb2
from luxor.revenue.v1 import ledger_pb2 as pb
from luxor.revenue.v1.ledger_pb2_grpc import LedgerServiceServicer
from services.revenue.api.batch_size import check_batch_size
from services.revenue.api.ledger_messages import (
    account_error,
    account_message,
    account_result,
    change_of,
    changed_fields,
    close_message,
    entry_message,
    kind,
    seal_message,
    statement_line,
)
from services.revenue.api.payments import FIRST_DAY, LAST_DAY, PAGE_DEFAULT, PAGE_MAX, PaymentCalls
from services.revenue.api.proof_messages import discrepancy_message, proof_message
from services.revenue.commands.put_accounts import put_accounts
from services.revenue.commands.rebalance import Ledger
from services.revenue.commands.reconcile import ComparedPage, Reconciliation
from services.revenue.commands.verify import Verification
from services.revenue.ledger.account import MONTHLY, DueDays, kind_of
from services.revenue.ledger.page import PageError
from services.revenue.store.ledger import credit
from services.revenue.store.ledger.accounts import Account, Accounts
from services.revenue.store.ledger.balances import BEGINNING, Balances, Holding, LinePlace
from services.revenue.store.positions import days
from services.revenue.store.proofs.chain import Chain

ACCOUNTS_MAX: Final = 1_000
ENTRIES_DEFAULT: Final = 10_000
ENTRIES_MAX: Final = 100_000
PROVE_SECONDS: Final = 1.0
"""Approximate duration of a ProveLedger call; one part may take longer on a busy machine."""
DAYS_MAX: Final = 31
CLOSES_MAX: Final = 100
"""Accounts of a page of closes: payments of the days that are not summed yet are read for each."""
_OWN: Final = {Role.FILER, Role.CARRIER}


def _parts(place: LinePlace) -> tuple[int, int, int, int]:
    return place.booked_at, place.partition, place.number, place.place


_BEGINNING: Final = _parts(BEGINNING)


class LedgerService(LedgerServiceServicer):
    """Serves LedgerService."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        jurisdictions: Callable[[], Collection[str]],
        accounts_changed: Callable[[], Awaitable[None]],
        due_days: DueDays,
    ) -> None:
        """Serve from a ledger and its database; jurisdictions are those whose law is loaded.

        `accounts_changed` is called after accounts were opened or changed, so that this replica knows them with its answer.
        """
        self._database = database
        self._pages = PageTokens(database)
        self._payments = PaymentCalls(database, ledger, jurisdictions)
        self._accounts_changed = accounts_changed
        self._due_days = due_days
        self._accounts = Accounts(database)
        self._balances = Balances(database)
        self._chain = Chain(database, ledger.names)
        self._reconciling = Reconciliation(database, ledger.names)
        self._proving = Verification(database, ledger.names)

    async def PutAccounts(
        self, request: pb.PutAccountsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.PutAccountsResponse:
        """Open deferred accounts and guarantees or change them, once per request; each has its own result."""
        before = await recalled(self._database, pb.PutAccountsResponse, request)
        if before is not None:
            return before
        check_batch_size(len(request.accounts), ACCOUNTS_MAX)
        fields = changed_fields(request)
        errors = [account_error(place, each, fields) for place, each in enumerate(request.accounts)]
        seen: set[str] = set()
        for place, each in enumerate(request.accounts):
            if errors[place] is None and each.name in seen:
                errors[place] = item_error("ACCOUNT_REPEATED", f"accounts[{place}].name", each.name)
            seen.add(each.name)
        good = [change_of(each, fields) for each, error in zip(request.accounts, errors, strict=True) if error is None]
        who = str(call.current().identity)

        def answer(changed: Sequence[Account | str]) -> pb.PutAccountsResponse:
            accounts = iter(changed)
            return pb.PutAccountsResponse(
                results=[
                    pb.AccountResult(error=error)
                    if error is not None
                    else account_result(place, next(accounts), request.accounts[place])
                    for place, error in enumerate(errors)
                ]
            )

        response = await put_accounts(self._database, request, good, who, answer)
        await self._accounts_changed()
        return response

    async def ListAccounts(
        self, request: pb.ListAccountsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListAccountsResponse:
        """Return the opened accounts, by name, with the amounts that they secure."""
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        (after,) = await self._pages.place(request, ("",))
        found = await self._accounts.page(after=after, prefix=request.prefix, rows_max=limit + 1)
        page = found[:limit]
        used = await self._balances.current({each.name: each.currency for each in page})
        return pb.ListAccountsResponse(
            accounts=[
                pb.OpenedAccount(
                    account=account_message(each), used_minor=used.get(each.name, 0), currency=each.currency
                )
                for each in page
            ],
            next_page_token=await self._pages.token(request, page[-1].name) if len(found) > limit else "",
        )

    async def ListOpenItems(
        self, request: pb.ListOpenItemsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListOpenItemsResponse:
        """Return the open items of an account, by currency, day and MRN."""
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        after = await self._pages.place(request, ("", 0, ""))
        holdings = await self._balances.holdings(names=[request.account], rows_max=1)
        if not holdings:
            raise Refusal("ACCOUNT_UNKNOWN", path="account", value=request.account, currency="any currency")
        async with self._database.connection() as reader:
            found = await credit.open_items(reader, holdings[0].account, after, limit + 1)
        page = found[:limit]
        last = page[-1] if len(found) > limit else None
        return pb.ListOpenItemsResponse(
            open_items=[
                pb.OpenItem(
                    mrn=each.mrn,
                    day=day_text(each.day),
                    currency=each.currency,
                    amount_minor=each.minor,
                    sole_debtor=each.sole_debtor,
                )
                for each in page
            ],
            next_page_token=await self._pages.token(request, last.currency, last.day, last.mrn) if last else "",
        )

    async def ListBalances(
        self, request: pb.ListBalancesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListBalancesResponse:
        """Return the balances of accounts, by name and currency."""
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        moment = _moment(request.at) if request.HasField("at") else None
        after = await self._pages.place(request, ("", ""))
        prefix = _prefix_within(request.prefix, _treasury())
        found = (
            []
            if prefix is None
            else await self._balances.holdings(
                after=after, prefix=prefix, drawn_on_by=_bound_to(), carries_as=_carries_as(), rows_max=limit + 1
            )
        )
        last = found[limit - 1] if len(found) > limit else None
        token = await self._pages.token(request, last.name, last.currency) if last else ""
        balances = await self._balances.at(found[:limit], moment)
        return pb.ListBalancesResponse(
            balances=[
                pb.Balance(
                    account=each.name,
                    kind=kind_of(each.name),  # type: ignore[arg-type]  # a number of the enumeration
                    currency=each.currency,
                    debit_minor=each.debit,
                    credit_minor=each.credit,
                    balance_minor=each.minor,
                )
                for each in balances
            ],
            next_page_token=token,
        )

    async def ListEntries(
        self, request: pb.ListEntriesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListEntriesResponse:
        """Return the entries of a consignment, or of an account on some days."""
        try:
            return await self._entries(request)
        except PageError as error:
            raise Refusal("LEDGER_PAGE_ALTERED", why=str(error)) from error

    async def _entries(self, request: pb.ListEntriesRequest) -> pb.ListEntriesResponse:
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        if request.WhichOneof("subject") is None:
            raise Refusal("ENTRIES_OF_NOTHING", path="mrn")
        if request.HasField("mrn"):
            if not mrns_of.is_valid(request.mrn):
                raise Refusal("MRN_MALFORMED", path="mrn", value=request.mrn)
            (after,) = await self._pages.place(request, (0,))
            entries = await self._chain.of_mrn(request.mrn, after=after, rows_max=limit)
            token = await self._pages.token(request, entries[-1].number) if len(entries) == limit else ""
            return pb.ListEntriesResponse(entries=map(entry_message, entries), next_page_token=token)
        return await self._entries_of_account(request, limit)

    async def _entries_of_account(self, request: pb.ListEntriesRequest, limit: int) -> pb.ListEntriesResponse:
        first, last_day = (day_of_text(getattr(request, name), name) for name in ("from_day", "to_day"))
        check_days(first, last_day)
        names = [request.account]
        currency, *numbers = await self._pages.place(request, ("", *_BEGINNING))
        place = LinePlace(*numbers)
        holdings = await self._balances.holdings(names=names, rows_max=PAGE_MAX)
        left = [each for each in holdings if each.currency >= currency]
        for each in left:
            start = place if each.currency == currency else BEGINNING
            entries, last = await self._chain.of_account(
                each.account, each.currency, first, last_day, after=start, rows_max=limit
            )
            if last != start:
                token = await self._pages.token(request, each.currency, *_parts(last))
                return pb.ListEntriesResponse(entries=map(entry_message, entries), next_page_token=token)
        return pb.ListEntriesResponse()

    async def GetStatement(
        self, request: pb.GetStatementRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetStatementResponse:
        """Return the statement of an account for a month; the first page has the sums."""
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        first, last = _month(request.month)
        own = _treasury()
        if own is not None and not request.account.startswith(own):
            raise Refusal("ACCOUNT_NOT_YOURS", path="account", value=request.account)
        ident = _bound_to()
        if ident is not None and not await self._accounts.drawn_on_by(request.account, ident, _carries_as()):
            raise Refusal("ACCOUNT_NOT_YOURS", path="account", value=request.account)
        after = LinePlace(*await self._pages.place(request, _BEGINNING))
        holding = await self._holding(request.account, request.currency)
        told = await self._balances.statement(
            holding.account, holding.currency, first, last, after=after, rows_max=limit + 1
        )
        place = told.lines[limit - 1].at if len(told.lines) > limit else None
        token = "" if place is None else await self._pages.token(request, *_parts(place))
        return pb.GetStatementResponse(
            opening_minor=told.opening,
            closing_minor=told.closing,
            debit_minor=told.debit,
            credit_minor=told.credit,
            totals=[
                pb.StatementTotal(
                    destination=each.destination,
                    kind=kind(each.kind),
                    consignments=each.consignments,
                    amount_minor=each.amount,
                )
                for each in told.totals
            ],
            lines=map(statement_line, told.lines[:limit]),
            next_page_token=token,
            currency=holding.currency,
        )

    async def ListMonthlyCloses(
        self, request: pb.ListMonthlyClosesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListMonthlyClosesResponse:
        """Return what accounts that pay by the month owe for it."""
        limit = page_size_of(request.page_size, CLOSES_MAX, CLOSES_MAX)
        first, last_day = _month(request.month)
        after = await self._pages.place(request, ("", ""))
        found: list[Holding] = []
        for prefix in _prefixes_of(MONTHLY, request.prefix):
            found += await self._balances.holdings(
                after=after,
                prefix=prefix,
                drawn_on_by=_bound_to(),
                carries_as=_carries_as(),
                rows_max=limit + 1 - len(found),
            )
            if len(found) > limit:
                break
        monthly = found[:limit]
        last = found[limit - 1] if len(found) > limit else None
        opened = await self._accounts.read([each.name for each in monthly])
        closes = [
            close_message(each, last_day, self._due_days, opened.get(each.closing.name))
            for each in await self._balances.closes(monthly, first, last_day)
        ]
        return pb.ListMonthlyClosesResponse(
            closes=[
                each
                for each in closes
                if (each.opening_minor or each.debit_minor or each.credit_minor)
                and (not request.overdue or each.state == pb.CLOSE_STATE_OVERDUE)
            ],
            next_page_token=await self._pages.token(request, last.name, last.currency) if last else "",
        )

    async def _holding(self, account: str, currency: str) -> Holding:
        """Return an account in a currency; in its only one if the request names none."""
        booked = await self._balances.holdings(names=[account], rows_max=PAGE_MAX)
        found = [each for each in booked if currency in ("", each.currency)]
        if not found:
            raise Refusal("ACCOUNT_UNKNOWN", path="account", value=account, currency=currency or "any currency")
        if len(found) > 1:
            currencies = ", ".join(each.currency for each in found)
            raise Refusal("ACCOUNT_CURRENCIES_SEVERAL", path="currency", value=account, currencies=currencies)
        return found[0]

    async def RecordPayments(
        self, request: pb.RecordPaymentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RecordPaymentsResponse:
        """Record payments, once per request and once per id of the bank."""
        return await self._payments.record_payments(request)

    async def ListPayments(
        self, request: pb.ListPaymentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListPaymentsResponse:
        """Return payments by jurisdiction and id."""
        return await self._payments.list_payments(request)

    async def RecordPayouts(
        self, request: pb.RecordPayoutsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RecordPayoutsResponse:
        """Record payouts, once per request and once per id of the bank."""
        return await self._payments.record_payouts(request)

    async def ListPayouts(
        self, request: pb.ListPayoutsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListPayoutsResponse:
        """Return payouts in the order of booking."""
        return await self._payments.list_payouts(request)

    async def ReconcileDay(
        self, request: pb.ReconcileDayRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ReconcileDayResponse:
        """Compare a part of a day; the first page has the totals."""
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        day = day_of_text(request.day, "day")
        check_days(day, day, "day")
        (after,) = await self._pages.place(request, ("",))
        page = ComparedPage([], 0, "") if request.totals_only else await self._reconciling.page(day, after, limit)
        totals, count = ([], 0) if request.page_token else await days.totals(self._database, day)
        return pb.ReconcileDayResponse(
            totals=[
                pb.RevenueTotal(
                    destination=each.destination,
                    kind=kind(each.kind),
                    collector=common_pb2.Collector.ValueType(each.collector),
                    currency=each.currency,
                    amount_minor=each.amount,
                    consignments=each.consignments,
                )
                for each in totals
            ],
            discrepancies=[
                pb.Discrepancy(
                    reason=each.reason,
                    mrn=each.mrn,
                    sentence=each.sentence,
                    assessed_minor=each.assessed,
                    posted_minor=each.posted,
                    currency=each.currency,
                )
                for each in page.differences
            ],
            consignments=count if request.totals_only else page.consignments,
            next_page_token=await self._pages.token(request, page.after) if page.after else "",
        )

    async def CheckChain(
        self, request: pb.CheckChainRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CheckChainResponse:
        """Compute a part of a chain again."""
        if not 0 <= request.partition < PARTITIONS:
            raise Refusal("PARTITION_OUT_OF_BOUNDS", path="partition", value=request.partition)
        if request.after < 0 or len(request.hash) not in (0, 32) or bool(request.after) != bool(request.hash):
            raise Refusal("CHAIN_PLACE_MALFORMED", path="hash")
        if request.external_seal < 0 or len(request.external_seal_hash) != (32 if request.external_seal else 0):
            raise Refusal("SEAL_MALFORMED", path="external_seal_hash")
        count = page_size_of(request.max_entries, ENTRIES_DEFAULT, ENTRIES_MAX, "max_entries")
        found = await self._chain.check(
            request.partition,
            after=request.after,
            before=request.hash or START,
            entries_max=count,
            outside=Seal(request.external_seal, request.external_seal_hash) if request.external_seal else None,
        )
        return pb.CheckChainResponse(
            entries=found.entries,
            postings=found.postings,
            last=found.last,
            hash=found.hash,
            end=found.end,
            seals=found.seals,
            errors=found.discrepancies,
            newest_seal=seal_message(found.newest),
        )

    async def GetProof(
        self, request: pb.GetProofRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetProofResponse:
        """Return how much is proven, and the discrepancies."""
        count = page_size_of(request.discrepancies_max, PAGE_DEFAULT, PAGE_MAX, "discrepancies_max")
        report = await self._proving.report(count)
        return pb.GetProofResponse(
            proof=proof_message(report), discrepancies=map(discrepancy_message, report.differences)
        )

    async def ProveLedger(
        self, request: pb.ProveLedgerRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ProveLedgerResponse:
        """Prove the next parts, for about a second, up to what was booked when the first call of a proof began."""
        until = list(request.until) or await self._proving.heads()
        done = await self._proving.prove(until, PROVE_SECONDS)
        return pb.ProveLedgerResponse(proof=proof_message(await self._proving.report(0)), done=done, until=until)


def check_days(first: int, last: int, path: str = "from_day") -> None:
    """Raise Refusal for days in the wrong order, too many, or outside of the ledger's years."""
    if not FIRST_DAY <= first <= last < LAST_DAY or last - first >= DAYS_MAX:
        raise Refusal("LEDGER_DAYS_OUT_OF_BOUNDS", path=path, value=day_text(first), days_max=DAYS_MAX)


def _bound_to() -> str | None:
    """Return the id of a caller that sees only the accounts that it may draw on; None for a caller that sees all."""
    identity = call.current().identity
    return identity.id if identity.role in _OWN else None


def _carries_as() -> str | None:
    """Return the code by which declarations name the carrier that calls, its id in capitals; None for other callers."""
    identity = call.current().identity
    return tidy_code(identity.id) if identity.role is Role.CARRIER else None


def _treasury() -> str | None:
    """Return the prefix of the accounts that a treasury may see, or None if the caller is no treasury.

    The id of its certificate is the treasury's code, alone or before a dot and whoever calls: `treasury/DE`, `treasury/DE.anna`.
    """
    identity = call.current().identity
    return f"treasury:{identity.id.partition('.')[0]}:" if identity.role is Role.TREASURY else None


def _prefix_within(prefix: str, own: str | None) -> str | None:
    """Return the prefix that both filters together require; None where no name can have it."""
    if own is None or prefix.startswith(own):
        return prefix
    return own if own.startswith(prefix) else None


def _prefixes_of(kinds: Collection[str], prefix: str) -> list[str]:
    """Return prefixes of the names of accounts of some kinds that begin with `prefix`, in the order of names."""
    named = [f"{each}:" for each in sorted(kinds)]
    return [max(each, prefix, key=len) for each in named if each.startswith(prefix) or prefix.startswith(each)]


def _month(text: str) -> tuple[int, int]:
    try:
        first = date.fromisoformat(f"{text}-01") if len(text) == 7 else None
    except ValueError:
        first = None
    if first is None or not 2000 <= first.year < 2100:
        raise Refusal("MONTH_MALFORMED", path="month", value=text)
    following = (first + timedelta(days=DAYS_MAX)).replace(day=1)
    return day_of_date(first), day_of_date(following) - 1


def _moment(stamp: Timestamp) -> int:
    micros = stamp.seconds * 1_000_000 + stamp.nanos // 1_000
    if not FIRST_DAY <= micros // MICROS_PER_DAY < LAST_DAY:
        raise Refusal("MOMENT_OUT_OF_BOUNDS", path="at", value=stamp_text(stamp.seconds))
    return micros
