"""The accounts of the embedded server: one for each database, which reaches that database alone, and the cluster's own.

A database's account has the database's name. It owns the tables, sequences, functions and types in it, since it migrates
them and makes and drops their days; it owns neither the database nor the schema, and makes no role and no database. What
no such account may own belongs to the cluster's own account, which only whoever runs the server uses.

The password of each account is in a file of its own (of the form of libpq's passfile) that only the account which runs
Luxor may read, so URLs name the file and hold no secret.
"""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

import asyncpg

SUPERUSER: Final = "luxor"

OWN_RULES: Final = "local_hba.conf"
"""File of the cluster with an administrator's further rules, such as one for replication."""

_RULES: Final = (
    "# Written by Luxor at each start; put your own rules into local_hba.conf beside it.\nlocal all luxor {how}\n"
)
_SERVICES: Final = "local sameuser all scram-sha-256\n"


def rules(cluster: Path, *, closed: bool) -> str:
    """The text of pg_hba.conf: each account by its password, a database's account into its own database alone.

    Unless it is closed, whoever may enter the socket's directory is trusted as the cluster's account: until that has a
    password.
    """
    own = cluster / OWN_RULES
    head = _RULES.format(how="scram-sha-256" if closed else "trust")
    return head + _SERVICES + (own.read_text() if own.exists() else "")


_ROLE: Final = "nosuperuser nocreatedb nocreaterole noreplication nobypassrls"
# All objects but those of extensions, and sequences that follow the table they belong to.
_STRANGE: Final = """
    select 'table' as kind, c.oid::regclass::text as name from pg_class c
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and c.relowner <> $1::regrole
            and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
                and (d.deptype = 'e' or (c.relkind = 'S' and d.deptype in ('a', 'i'))))
    union all
    select 'routine', p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = 'public'::regnamespace and p.proowner <> $1::regrole
            and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
    union all
    select 'type', t.oid::regtype::text from pg_type t left join pg_class c on c.oid = t.typrelid
        where t.typnamespace = 'public'::regnamespace and t.typowner <> $1::regrole
            and (t.typtype in ('e', 'd', 'r') or c.relkind = 'c')
            and not exists (select from pg_depend d where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e')
"""


def quoted(name: str) -> str:
    """The name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


class Accounts:
    """The password files in one directory."""

    def __init__(self, directory: Path, socket_dir: Path) -> None:
        self._directory = directory
        self._socket_dir = socket_dir

    def url(self, account: str, database: str) -> str:
        """The URL of a database for an account, for `Database` and for libpq's programs."""
        host, file = (quote(str(each), safe="/") for each in (self._socket_dir, self._directory / account))
        return f"postgresql://{quote(account, safe='')}@/{quote(database, safe='')}?host={host}&passfile={file}"

    def password(self, account: str) -> tuple[str, bool]:
        """Reads the password of an account, and makes one where there is none; whether it was made now."""
        file = self._directory / account
        try:
            return file.read_text().rstrip("\n").rpartition(":")[2], False
        except FileNotFoundError:
            pass
        self._directory.mkdir(mode=0o700, exist_ok=True)
        password = secrets.token_urlsafe(32)
        unfinished = file.with_name(f".{account}.new")
        unfinished.unlink(missing_ok=True)
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w") as writing:
            writing.write(f"*:*:*:{account}:{password}\n")
            writing.flush()
            os.fsync(handle)
        unfinished.replace(file)
        return password, True

    async def provide(self, cluster: asyncpg.Connection, databases: Sequence[str], *, renew: bool) -> None:
        """Makes the accounts and databases that are missing, and closes each database to everybody; see `hand_over`.

        `cluster` is a connection of the cluster's account to the database postgres. With `renew` every account gets the
        password of its file: those of a cluster that had none, or another's.
        """
        roles = {row[0] for row in await cluster.fetch("select rolname from pg_roles")}
        present = {row[0] for row in await cluster.fetch("select datname from pg_database")}
        for name in (SUPERUSER, *databases):
            password, made = self.password(name)
            if name not in roles:
                await cluster.execute(f"create role {quoted(name)} login {_ROLE} password '{password}'")
            elif renew or made:
                await cluster.execute(f"alter role {quoted(name)} password '{password}'")
        for name in databases:
            if name not in present:
                await cluster.execute(f"create database {quoted(name)}")
        for name in ("postgres", "template1", *databases):
            await cluster.execute(f"revoke all on database {quoted(name)} from public")


async def hand_over(inside: asyncpg.Connection, account: str) -> int:
    """Makes the account the owner of all that is in the database's schema, then lets it in; how many objects were not its own.

    `inside` is a connection of the cluster's account to that database. Nothing is copied: the rows stay as they are.
    """
    async with inside.transaction():
        await inside.execute("revoke all on schema public from public")
        await inside.execute(f"grant usage, create on schema public to {quoted(account)}")
        strange = await inside.fetch(_STRANGE, account)
        for row in strange:
            await inside.execute(f"alter {row['kind']} {row['name']} owner to {quoted(account)}")
        await inside.execute(f"grant connect, temporary on database {quoted(account)} to {quoted(account)}")
    return len(strange)
