"""A directory of party lists, as files that change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HEAD = "id,kind,name,aliases,weak_aliases,countries,identifiers\n"
NAMES = ("Zaphod Beeblebrox", "Arthur Philip Dent", "Tricia McMillan", "Slartibartfast Magrathea", "Agrajag Stavromula")


def write(path: Path, *names: str, text: str = "") -> None:
    """Write a list, with another time of change than before."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text or HEAD + "".join(f"{number},person,{name},,,,\n" for number, name in enumerate(names)))
    os.utime(path, ns=(before + 1_000_000, before + 1_000_000))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write(
        tmp_path / "lists.yaml",
        text="format: 1\nlists:\n  - {name: OWN, kind: own, files: [own.csv], published: 2026-11-01}\n",
    )
    write(tmp_path / "own.csv", *NAMES)
    return tmp_path
