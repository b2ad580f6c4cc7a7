"""Claims of officers on held goods: made, handed over and ended, once per request."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from libs.store.database import Transaction
from services.clearance.commands.act import CLAIMED, UNKNOWN, VERSION_CHANGED, Acted, ExpectedVersions, Request
from services.clearance.consignment.transitions import STAYING
from services.clearance.store import Row, Store
from services.clearance.store.work import Claim


@dataclass(frozen=True, slots=True)
class HandOver:
    """What an officer asks for: a claim for an officer, or for nobody."""

    by: str
    officer: str
    """The officer who works on the goods from now on; "" for nobody."""
    note: str
    takes_over: bool
    """Whether claims of others than the caller may be replaced, with a note."""


class Claims:
    """Makes, hands over and ends claims."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(
        self,
        consignments: ExpectedVersions,
        order: HandOver,
        *,
        request: Request,
        encode: Callable[[Sequence[Acted]], bytes],
    ) -> bytes:
        """Carry out an order once per request; return what `encode` made of the results, also when the request is repeated. Raises RequestReused."""
        async with self._store.database.transaction() as tx:
            before = await self._store.requests.recall(tx, *request.key)
            if before is not None:
                return before
            results = await self._carry_out(tx, dict(consignments), order)
            answer = encode([results.get(mrn) or Acted(mrn, 0, 0, UNKNOWN) for mrn, _ in consignments])
            await self._store.requests.remember(tx, *request.key, answer)
        return answer

    async def _carry_out(
        self, tx: Transaction, expected: Mapping[str, int | None], order: HandOver
    ) -> dict[str, Acted]:
        # The lock of a consignment is that of its claim: a hold that ends meanwhile ends the claim, too.
        locked = await self._store.lock(tx, list(expected))
        claims = await self._store.claims.find(tx, list(locked))
        results = {
            mrn: Acted(mrn, row.state, row.version, _refusal(row, expected[mrn], claims.get(mrn), order))
            for mrn, row in locked.items()
        }
        done = [mrn for mrn, acted in results.items() if not acted.refusal]
        # A claim that is there already keeps its time.
        fresh = [mrn for mrn in done if mrn not in claims or not claims[mrn].is_of(order.officer)]
        await self._record(tx, order, {mrn: claims[mrn].officer if mrn in claims else "" for mrn in fresh})
        if fresh and order.officer:
            claim = Claim(order.officer, await self._store.now(tx), order.by, order.note)
            await self._store.claims.put(tx, fresh, claim)
        elif fresh:
            await self._store.claims.end(tx, fresh)
        return results

    async def _record(self, tx: Transaction, order: HandOver, former: Mapping[str, str]) -> None:
        """Record in the audit trail whose claims change to whose, with the note: only the current claim is stored."""
        for officer in sorted(set(former.values())):
            mrns = [mrn for mrn, each in former.items() if each == officer]
            change = f"claim of {officer or 'nobody'} to {order.officer or 'nobody'}"
            await self._store.audit.note_access(tx, self._store.origin(), change, mrns)


def _refusal(row: Row, version: int | None, claim: Claim | None, order: HandOver) -> str:
    """Return why an order is refused for a consignment, "" if it is not."""
    if version not in (None, row.version):
        return VERSION_CHANGED
    if row.state not in STAYING:
        return "NOT_HELD"
    if claim is None:
        return "" if order.officer else "NOT_CLAIMED"
    if claim.is_of(order.by):
        return ""
    if not order.takes_over:
        return CLAIMED
    return "" if order.note.strip() else "HAND_OVER_UNEXPLAINED"
