"""Stores that go back: a data directory that is put back as it was, and a standby that is promoted without the log's tail."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from libs.store.embedded.accounts import OWN_RULES, SUPERUSER
from libs.store.embedded.processes import run_apart
from libs.store.embedded.server import EmbeddedPostgres
from tests.support.databases import enterable_directory

REPLICATION = "local replication all trust\n"


@contextmanager
def own_server(service: str) -> Iterator[EmbeddedPostgres]:
    """Run a server of its own for a service's store."""
    directory = enterable_directory()
    server = EmbeddedPostgres(directory, databases=(f"luxor_{service}",), settings={"shared_buffers": "32MB"})
    try:
        server.start()
        yield server
    finally:
        server.destroy()
        shutil.rmtree(directory, ignore_errors=True)


def copied(server: EmbeddedPostgres) -> Path:
    """Copy the data of a server as an operator would who stops it meanwhile; return where the copy is."""
    running = server.running
    server.stop()
    copy = server.home / "older"
    shutil.rmtree(copy, ignore_errors=True)
    _copy(server.cluster, copy)
    if running:
        server.start()
    return copy


def put_back(server: EmbeddedPostgres, copy: Path) -> None:
    """Put a copy in the place of a server's data, and start the server."""
    server.kill()
    shutil.rmtree(server.cluster)
    _copy(copy, server.cluster)
    server.start()


def standby_of(server: EmbeddedPostgres, home: Path) -> EmbeddedPostgres:
    """Make a streaming standby of a running server, and start it."""
    server.stop()
    _write(server.cluster / OWN_RULES, REPLICATION)
    standby = EmbeddedPostgres(home, databases=())
    standby.prepare_home()  # it makes the directories and their owner
    _copy(server.cluster, standby.cluster)
    server.start()
    _write(standby.cluster / "standby.signal", "")
    settings = standby.cluster / "postgresql.auto.conf"
    _write(settings, settings.read_text() + f"primary_conninfo = 'host={server.socket_dir} user={SUPERUSER}'\n")
    standby.start()
    return standby


def promote(standby: EmbeddedPostgres) -> None:
    """Promote a standby whose primary is lost."""
    run_apart(lambda: standby.execute("select pg_promote(true, 60)"))


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)
    (target / "postmaster.pid").unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    owner = path.parent.stat()
    path.write_text(text)
    shutil.chown(path, owner.st_uid, owner.st_gid)
