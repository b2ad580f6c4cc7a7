"""The rendered chart, made once a process for each set of values."""

from functools import cache
from typing import Any

import pytest

from tools import chart

Document = dict[str, Any]
SERVICES = ("ingestion", "risk", "revenue", "clearance", "statistics")


@cache
def _rendered(sizes: tuple[str, ...], sets: tuple[str, ...], upgrade: bool) -> list[Document]:
    return chart.render(*sizes, sets=sets, upgrade=upgrade)


def rendered(*sizes: str, sets: tuple[str, ...] = (), upgrade: bool = False) -> list[Document]:
    """Return the documents of values files; skip the test where there is no helm."""
    try:
        chart.helm()
    except chart.ChartError as error:
        pytest.skip(str(error))
    return _rendered(sizes, sets, upgrade)


def of(documents: list[Document], kind: str) -> dict[str, Document]:
    """Return the documents of one kind by name, without the release's name before it."""
    return {
        each["metadata"]["name"].removeprefix(f"{chart.RELEASE}-"): each for each in documents if each["kind"] == kind
    }


def environ(container: Document) -> dict[str, str]:
    """Return the environment of a container."""
    return {each["name"]: each["value"] for each in container["env"]}
