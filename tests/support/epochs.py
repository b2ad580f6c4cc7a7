"""Begins an epoch of a feed on demand, where a real one begins after a restore, a promotion or a move."""

from typing import Final

from libs.customs.partitions import PARTITIONS
from libs.store.database import Transaction

_RAISE: Final = "select feed_begin_epoch($1, 0)"
_END: Final = """
    update feed_epoch set
        end_xid = case when $2 then coalesce(last.xid, 0) end,
        end_seq = case when $2 then coalesce(last.seq, 0) end
    from (select max(epoch) as epoch from feed_epoch where epoch < $1) ended
    left join lateral (
        select o.xid, o.seq from generate_series(0, $3::integer - 1) as p(partition)
        cross join lateral (
            select xid, seq from outbox where partition = p.partition and epoch = ended.epoch order by xid desc, seq desc limit 1
        ) o
        order by o.xid desc, o.seq desc limit 1
    ) last on true
    where feed_epoch.epoch = ended.epoch
"""


async def raise_epoch(tx: Transaction, reason: str, *, lost: bool) -> int:
    """Begin a new epoch and return its number.

    `lost` says that commits which readers may have seen are lost: then a cursor beyond the last event that is left is answered FEED_EPOCH_ENDED.
    Without it every cursor reads on.
    """
    begun = int(await tx.raw.fetchval(_RAISE, reason))
    await tx.raw.execute(_END, begun, lost, PARTITIONS)
    return begun
