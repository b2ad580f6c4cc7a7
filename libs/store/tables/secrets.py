"""Secrets of a deployment that its own database keeps: made when they are first asked for, the same for all replicas."""

import secrets
from typing import Final

from libs.store.database import Database

SECRET_BYTES: Final = 32


async def deployment_secret(database: Database, name: str) -> bytes:
    """The secret called `name` of the table deployment_secret, made when it is first asked for."""
    async with database.transaction() as tx:
        await tx.raw.execute(
            "insert into deployment_secret (name, value) values ($1, $2) on conflict do nothing",
            name,
            secrets.token_bytes(SECRET_BYTES),
        )
        value: bytes = await tx.raw.fetchval("select value from deployment_secret where name = $1", name)
    return value
