"""`luxor migrate`: migrates a service's database to the schema of this release, before its replicas start."""

import asyncio
import os
import time
from typing import TYPE_CHECKING, Final

import click

from libs.cli.common import Context, command, run
from libs.cli.local.state import SERVICES

if TYPE_CHECKING:
    from libs.store.database import Database

WAIT_SECONDS: Final = 300.0
_PAUSE_SECONDS: Final = 0.5


@command("migrate", short_help="Migrate a service's database to the schema of this release.")
@click.argument("service", type=click.Choice(list(SERVICES)))
@click.option(
    "--wait", "only_wait", is_flag=True, help="Change nothing; wait until another process has migrated the schema."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 3600),
    default=WAIT_SECONDS,
    show_default=True,
    help="How long to wait for the database's server, and for the schema.",
)
def migrate(context: Context, service: str, only_wait: bool, seconds: float) -> None:
    """Run the missing migrations of a service's database, and end.

    The variables of the service name the database (LUXOR_<SERVICE>_DATABASE_URL and so on). Any number of these
    commands may run at once: one does the work, the others wait for it.
    """
    from libs.server.config.server_config import ConfigError, ServerConfig
    from libs.store.database import Database

    config = ServerConfig.from_environ(service, os.environ)
    if not config.database_url:
        reason = "is not set; an embedded database is migrated by its service at start"
        raise ConfigError(f"LUXOR_{service.upper()}_DATABASE_URL", reason, f"postgresql://luxor@db:5432/{service}")
    began = time.monotonic()
    database = Database(config.database_url, name=service, pool_size=2)
    done = run(_settled(database, f"services.{service}", only_wait, seconds))
    result = {"service": service, "migrated": done, "seconds": round(time.monotonic() - began, 3)}
    what = f"is migrated to {done[-1]}" if done else "is that of this release"
    context.emit(result, lambda terminal: terminal.print(f"{service}: the schema {what}", soft_wrap=True))


async def _settled(database: "Database", package: str, only_wait: bool, seconds: float) -> list[str]:
    """Migrate, or wait for another process that does; retry temporary failures until the time is over."""
    from libs.store.errors import StoreUnavailable
    from libs.store.tables import migrate as migrations

    ends_at = time.monotonic() + seconds
    try:
        while True:
            try:
                await database.open()
                if not only_wait:
                    left = max(0.0, ends_at - time.monotonic())
                    return await migrations.migrate(database, package, lock_seconds_max=left)
                await migrations.require_schema(database, package)
                return []
            except StoreUnavailable:
                if time.monotonic() + _PAUSE_SECONDS > ends_at:
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)
    finally:
        await database.close()
