"""Open deferred accounts and guarantees or change them, once per request."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from libs.server.requests import once
from libs.store.database import Database, Transaction
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.store.ledger.accounts import Account, Accounts, Change


async def put_accounts(
    database: Database,
    request: pb.PutAccountsRequest,
    changes: Sequence[Change],
    by: str,
    answer: Callable[[Sequence[Account | str]], pb.PutAccountsResponse],
) -> pb.PutAccountsResponse:
    """Apply the changes of a request, each account at most once; return its answer, or the stored one of a repeated request.

    `answer` gets for each change the account as it stands now, or why it is refused. Raises Refusal.
    """
    accounts = Accounts(database)

    async def work(tx: Transaction) -> pb.PutAccountsResponse:
        return answer(await accounts.change(tx, changes, by) if changes else ())

    return await once(database, pb.PutAccountsResponse, request, work)
