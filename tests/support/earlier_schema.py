"""A store as an earlier revision of a service's migrations leaves it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from libs.store.database import Database
from libs.store.tables.migrate import migrate


async def migrate_to(
    database: Database, package: str, revision: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run the migrations of `package` up to `revision`, from a package in `directory` that has no later ones."""
    monkeypatch.syspath_prepend(str(directory))
    assert (await migrate(database, _package_until(package, revision, directory)))[-1] == revision


def _package_until(package: str, revision: str, directory: Path) -> str:
    name = f"{package.rpartition('.')[2]}_until_{revision}"
    versions = directory / name / "migrations" / "versions"
    versions.mkdir(parents=True)
    for file in Path(str(resources.files(package))).glob("migrations/versions/r*.py"):
        if file.name[1:5] <= revision:
            (versions / file.name).symlink_to(file)
    return name
