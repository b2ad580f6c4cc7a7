"""Makes the directory that a PostgreSQL server works on, and writes its settings."""

import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from libs.store.embedded.accounts import SUPERUSER, rules
from libs.store.embedded.binaries import Account, Binaries
from libs.store.errors import StoreUnavailable

SETTINGS: Final[Mapping[str, str]] = {
    # A commit is a promise.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "recovery_init_sync_method": "syncfs",  # one call in place of a thousand after a crash
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "max_locks_per_transaction": "2048",  # tables are cut in dozens of partitions
    "max_prepared_transactions": "0",  # they would hold the feed's horizon
    "autovacuum": "on",
    "jit": "off",  # compiling costs more than our short statements take
    "timezone": "UTC",
    "log_timezone": "UTC",
    # The log must not quote rows or statements: they hold personal data.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
    "log_line_prefix": "%m [%p] %d ",
}

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def create_cluster(
    binaries: Binaries,
    account: Account,
    cluster: Path,
    *,
    settings: Mapping[str, str],
    socket_dir: Path,
    deadline: float,
) -> None:
    """Runs initdb beside the place and moves the whole in, so that an interruption leaves no half of a cluster.

    `deadline` is of `time.monotonic`. Raises `StoreUnavailable` with initdb's last words.
    """
    unfinished = cluster.with_name(f"{cluster.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [
        binaries.program("initdb"),
        f"--pgdata={unfinished}",
        f"--username={SUPERUSER}",
        "--encoding=UTF8",
        "--locale=C",
        "--data-checksums",
        "--auth-local=trust",
        "--auth-host=reject",
        "--no-sync",  # a thousand fsyncs take seconds; the one call below does the same
    ]
    done = _run(command, account, cluster, deadline)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-1000:]
        raise StoreUnavailable(f"initdb in {cluster.parent} failed: {said}", reason="starting")
    write_owned(unfinished / "pg_hba.conf", rules(unfinished, closed=False), account)
    with (unfinished / "postgresql.conf").open("a") as file:
        file.write("\ninclude 'luxor.conf'\ninclude_if_exists 'local.conf'\n")
    write_settings(unfinished, settings, socket_dir, account)
    _sync_file_system(unfinished)
    unfinished.rename(cluster)
    _sync_file_system(cluster.parent)


def compression(binaries: Binaries, account: Account, cluster: Path, *, deadline: float) -> dict[str, str]:
    """How images of pages in the log and long values are compressed: by lz4, which takes the least CPU time, where the server was built with it."""
    command = [binaries.program("postgres"), "-D", str(cluster), "-c", "wal_compression=lz4", "-C", "wal_compression"]
    method = "lz4" if _run(command, account, cluster, deadline).returncode == 0 else "pglz"
    return {"wal_compression": method, "default_toast_compression": method}


def _run(command: list[str], account: Account, cluster: Path, deadline: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=max(1.0, deadline - time.monotonic()),
            check=False,
            cwd="/",
            env=child_environment(),
            **account.popen_arguments(),
        )
    except subprocess.TimeoutExpired:
        raise StoreUnavailable(f"the cluster in {cluster.parent} could not be made in time", reason="timeout") from None


def write_settings(cluster: Path, settings: Mapping[str, str], socket_dir: Path, account: Account) -> None:
    """Writes `luxor.conf`, which the cluster's `postgresql.conf` includes."""
    fixed = {
        "listen_addresses": "",
        "port": "5432",
        "unix_socket_directories": f'"{socket_dir}"',
        "unix_socket_permissions": "0700",
    }
    head = "# Written by Luxor at each start; put your own settings into local.conf beside it."
    lines = [f"{name} = '{_escaped(value)}'" for name, value in ({**settings, **fixed}).items()]
    write_owned(cluster / "luxor.conf", "\n".join([head, *lines, ""]), account)


def write_owned(path: Path, text: str, account: Account) -> None:
    """Writes a file that only the account may read; on a full disk what was there before stays whole."""
    if path.exists() and path.read_text() == text:
        return
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.write_text(text)
    if account.switch:
        os.chown(unfinished, account.uid, account.gid)
    unfinished.chmod(0o600)
    unfinished.replace(path)


def child_environment() -> dict[str, str]:
    """What PostgreSQL's programs need of an environment: none of ours, above all no PG* variable."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _sync_file_system(directory: Path) -> None:
    """Puts all that was written below `directory` onto the disk."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _LIBC.syncfs(handle) != 0:
            os.sync()
    finally:
        os.close(handle)


def _escaped(value: str) -> str:
    return value.replace("'", "''")
