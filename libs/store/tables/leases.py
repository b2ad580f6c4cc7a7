"""Jobs that one replica at a time may run (making partitions, purging), by rows that expire by the database's clock.

A lease tells who should run; it cannot stop one who was held up past its end. So each change of holder raises `token`,
and work that must not happen twice checks the token in its own transaction (`require_lease`).
"""

from libs.store.database import Transaction
from libs.store.errors import StoreError


class LeaseLost(StoreError):
    """The lease ran out or went to another replica, so this transaction must not commit."""


async def try_lease(tx: Transaction, name: str, owner: str, seconds: float) -> int | None:
    """Takes or renews the lease `name` for `owner`; gives its fencing token, or None while another holds it.

    A lease that ends later than one that is taken now can end was written before the database's clock went back (a
    standby was promoted); it is taken, and its token keeps the old holder out. The token stays the same while the owner
    renews in time, and rises at each other taking.
    """
    token = await tx.raw.fetchval(
        """
        insert into job_lease as held (name, owner, token, lease_until)
        values ($1, $2, 1, clock_timestamp() + make_interval(secs => $3))
        on conflict (name) do update set
            owner = excluded.owner,
            token = held.token + case when held.owner = excluded.owner and held.lease_until > clock_timestamp() then 0
            else 1 end, lease_until = clock_timestamp() + make_interval(secs => $3)
        where held.owner = excluded.owner or held.lease_until <= clock_timestamp()
            or held.lease_until > clock_timestamp() + make_interval(secs => $3 * 2)
        returning token
        """,
        name,
        owner,
        float(seconds),
    )
    return None if token is None else int(token)


async def require_lease(tx: Transaction, name: str, token: int) -> None:
    """Check that the lease still has `token`, and lock it until this transaction ends; raise `LeaseLost` otherwise."""
    held = await tx.raw.fetchval(
        "select true from job_lease where name = $1 and token = $2 and lease_until > clock_timestamp() for update",
        name,
        token,
    )
    if not held:
        raise LeaseLost(f"database {tx.database}: the lease of {name} is lost", database=tx.database)


async def release_lease(tx: Transaction, name: str, token: int) -> None:
    """Release the lease immediately, so that another replica need not wait for its end; harmless if it is lost
    already."""
    await tx.raw.execute(
        "update job_lease set lease_until = clock_timestamp() where name = $1 and token = $2", name, token
    )
