"""The embedded server's accounts: what each may reach, and how a data directory of version 0.2 gets them."""

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from libs.cli.local.supervisor import Supervisor
from libs.feed.publish.retention import Maintenance
from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.tables.migrate import migrate
from tests.support.databases import enterable_directory

pytestmark = pytest.mark.long

OWN, OTHER = "luxor_ingestion", "luxor_clearance"
SMALL = {"shared_buffers": "16MB"}
DENIED = {"InsufficientPrivilegeError", "UndefinedFileError", "FeatureNotSupportedError"}
"""How PostgreSQL says no; the last two where an extension is not installed at all."""
DAY = "select max(split_part(relname, '_d', 2)::int) from pg_class where relname like 'outbox_d%' and relkind = 'r'"
TODAY = "select floor(extract(epoch from clock_timestamp()) / 86400)::integer"
RULES_OF_0_2 = "local all all trust\n"


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    """A server with two services' databases, not started."""
    directory = enterable_directory()
    made = EmbeddedPostgres(directory, databases=(OWN, OTHER), settings=SMALL)
    yield made
    made.destroy()
    shutil.rmtree(directory, ignore_errors=True)


async def ask(url: str, *statements: str) -> Any:
    """Run statements one by one as whoever the URL names; the value of the last."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return await connection.fetchval(statements[-1])
    finally:
        await connection.close()


async def refused(url: str, statement: str = "select 1") -> str:
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)) as caught:
        await ask(url, statement)
    return type(caught.value).__name__


async def test_an_account_reaches_its_own_database_and_nothing_else(server: EmbeddedPostgres) -> None:
    await asyncio.to_thread(server.start)
    await ask(server.account_url(OTHER), "create table secret (name text)", "select 1")
    own = server.account_url(OWN)
    assert await ask(own, "create table fact (x int)", "insert into fact values (7)", "select x from fact") == 7
    for database in (OTHER, "postgres", "template1"):
        assert await refused(own.replace(f"/{OWN}?", f"/{database}?")) == "InvalidAuthorizationSpecificationError"
    passwords = server.home / "accounts"
    for account in (OTHER, "luxor"):
        # With the password that the service has, and with none.
        as_other = own.replace(f"//{OWN}@", f"//{account}@")
        assert await refused(as_other) in {"InvalidPasswordError", "InvalidAuthorizationSpecificationError"}
        assert await refused(as_other.partition("&passfile")[0]) in {
            "InvalidPasswordError",
            "InvalidAuthorizationSpecificationError",
        }
        assert (passwords / account).stat().st_mode & 0o077 == 0
    assert await refused(own.partition("&passfile")[0]) == "InvalidPasswordError"
    for beyond in (
        "create role friend", "create database more", "alter role luxor_ingestion superuser", "set role luxor", f"set role {OTHER}",
        f"drop database {OTHER}", f"alter database {OWN} owner to {OTHER}", "drop schema public", "create schema mine",
        "select pg_read_file('pg_hba.conf')", "alter system set fsync = off", "copy (select 1) to program 'true'",
        "select * from pg_authid", "create extension dblink", "set session_replication_role = replica",
    ):  # fmt: skip
        assert await refused(own, beyond) in DENIED, beyond
    # What the services ask their server for, they may.
    assert await ask(own, "select system_identifier from pg_control_system()") > 0
    assert await ask(own, "select timeline_id from pg_control_checkpoint()") == 1
    owned = "select array_agg(distinct pg_get_userbyid(relowner)::text) from pg_class where relnamespace = 'public'::regnamespace"
    assert await ask(own, owned) == [OWN]
    assert (
        await ask(own, "select pg_get_userbyid(datdba) from pg_database where datname = current_database()") == "luxor"
    )


async def made_by_0_2(server: EmbeddedPostgres) -> None:
    """Bring the data directory to what version 0.2 left: one account that owns all, and whoever reaches the socket is it."""
    await asyncio.to_thread(server.start)
    for name in (OWN, OTHER):
        async with Database(server.url(name), name=name) as database:
            await migrate(database, f"services.{name.removeprefix('luxor_')}")
            async with database.transaction() as tx:
                await tx.raw.execute("insert into feed_floor (name, epoch, xid, seq, day) values ('kept', 1, 2, 3, 4)")
                await tx.raw.execute(
                    "create table own_sequence (id bigserial primary key, at bigint generated always as identity)"
                )
                await tx.raw.execute("create type mood as enum ('fine'); create view seen as select * from feed_floor")
        for statement in (f"grant all on database {name} to public", f"revoke all on database {name} from {name}"):
            await ask(server.url("postgres"), statement, "select 1")
        # As the cluster's own account had made everything, and no other was there.
        await ask(server.url(name), f"reassign owned by {name} to luxor", f"drop owned by {name}", "select 1")
    for name in (OWN, OTHER):
        await ask(server.url("postgres"), f"drop role {name}", "select 1")
    await ask(server.url("postgres"), "alter role luxor password null", "select 1")
    (server.cluster / "pg_hba.conf").write_text(RULES_OF_0_2)
    shutil.rmtree(server.home / "accounts")


async def trusts(server: EmbeddedPostgres) -> bool:
    """Whether anybody is let in as the cluster's account."""
    try:
        await ask(server.url("postgres").partition("&passfile")[0], "select 1")
    except asyncpg.InvalidAuthorizationSpecificationError:
        return False
    return True


@pytest.mark.parametrize("runs", [False, True], ids=["stopped", "taken over"])
async def test_a_data_directory_of_version_0_2_gets_accounts_and_loses_nothing(
    server: EmbeddedPostgres, runs: bool
) -> None:
    await made_by_0_2(server)
    if runs:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGHUP)
        async with asyncio.timeout(20):
            while await trusts(server) is False:  # noqa: ASYNC110  # the server says nothing
                await asyncio.sleep(0.02)
    else:
        await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    assert await refused(server.url(OWN).partition("&passfile")[0]) == "InvalidPasswordError"
    for name in (OWN, OTHER):
        own = server.account_url(name)
        strange = "select count(*) from pg_class where relnamespace = 'public'::regnamespace and pg_get_userbyid(relowner) <> current_user"
        assert await ask(own, strange) == 0
        functions = "select count(*) from pg_proc where pronamespace = 'public'::regnamespace and pg_get_userbyid(proowner) <> current_user"
        assert await ask(own, functions) == 0
        assert await ask(own, "select day from seen where name = 'kept'") == 4
        assert (
            await ask(
                own,
                "insert into own_sequence default values",
                "alter type mood add value 'bad'",
                "select max(id) from own_sequence",
            )
            == 1
        )
        async with Database(own, name=name) as database:
            assert await migrate(database, f"services.{name.removeprefix('luxor_')}") == []
            # Days are made and dropped as before.
            last = await ask(own, DAY)
            await ask(own, f"drop table outbox_d{last}", "select 1")
            await Maintenance(database).step()
            assert await ask(own, DAY) == last
            today = await ask(own, TODAY)
            await Maintenance(database).step(today=today + 3)
            assert await ask(own, f"select to_regclass('outbox_d{today}')") is None


async def test_data_without_the_files_of_their_accounts_are_opened_with_new_passwords(server: EmbeddedPostgres) -> None:
    await asyncio.to_thread(server.start)
    await ask(server.account_url(OWN), "create table fact (x int)", "select 1")
    former = (server.home / "accounts" / OWN).read_text()
    await asyncio.to_thread(server.stop)
    shutil.rmtree(server.home / "accounts")
    await asyncio.to_thread(server.start)
    assert (server.home / "accounts" / OWN).read_text() != former
    assert await ask(server.account_url(OWN), "select count(*) from fact") == 0
    assert await refused(server.url(OWN).partition("&passfile")[0]) == "InvalidPasswordError"


def test_each_service_of_the_supervisor_gets_the_credentials_of_its_own_store_alone(tmp_path: Path) -> None:
    given = {
        "LUXOR_RISK_DATABASE_URL": "postgresql://a:secret@b/risk",
        "LUXOR_REVENUE_DATABASE_URL_FILE": str(tmp_path / "revenue"),
    }
    supervisor = Supervisor(tmp_path, env=given)
    stores = {
        name: {key: value for key, value in child.environ.items() if "_DATABASE_URL" in key}
        for name, child in supervisor.children.items()
        if name != "postgres"
    }
    server = EmbeddedPostgres(tmp_path)
    assert stores == {
        "risk": {"LUXOR_RISK_DATABASE_URL": given["LUXOR_RISK_DATABASE_URL"]},
        "revenue": {"LUXOR_REVENUE_DATABASE_URL_FILE": given["LUXOR_REVENUE_DATABASE_URL_FILE"]},
        **{
            name: {f"LUXOR_{name.upper()}_DATABASE_URL": server.account_url(f"luxor_{name}")}
            for name in ("ingestion", "clearance", "statistics")
        },
    }
