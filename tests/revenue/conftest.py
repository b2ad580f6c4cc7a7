"""Tests of revenue begin with the schema of its store, and its services with the law that ships compiled once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from services.revenue import __main__ as revenue
from services.revenue.law.program.program import Program
from services.revenue.store.law_files import program_of


@pytest.fixture(scope="session")
def migrations_of() -> str:
    return "services.revenue"


@pytest.fixture(scope="session", autouse=True)
def law_compiled_once() -> Iterator[None]:
    """Compile the same files once in a process: it takes a second, and more than a hundred tests start a service."""
    compiled: dict[tuple[frozenset[tuple[str, str]], ...], Program] = {}

    def program(files: Mapping[str, str], written: Mapping[str, str] | None = None) -> Program:
        key = frozenset(files.items()), frozenset((written or files).items())
        if key not in compiled:
            compiled[key] = program_of(files, written)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(revenue, "program_of", program)
        yield
