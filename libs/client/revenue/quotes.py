"""Quotes: from options of a command line or from a file, in plain values."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from libs.client.client import Client
from libs.client.filing.columns import columns
from libs.client.plain import plain
from luxor.consignment.v1.consignment_pb2 import Consignment


def consignment(
    values: dict[str, str], items: Sequence[dict[str, str]], *, labels: Mapping[str, str] | None = None
) -> Consignment:
    """Make a consignment from cells, as a CSV has them, by column.

    Raises Fault naming the column that is wrong, or what `labels` calls it where the cells are of no table.
    """
    message = Consignment()
    _set(message, values, labels or {})
    for each in items:
        _set(message.items.add(), each, labels or {})
    return message


def _set(message: Any, values: dict[str, str], labels: Mapping[str, str]) -> None:
    known = columns()
    # The currency of an amount determines its decimal places, so it is read first.
    for name in sorted(values, key=lambda each: bool(known[each].currency)):
        if values[name]:
            known[name].read(message, values[name], labels.get(name, name))


async def quote(client: Client, consignments: Iterable[Consignment], *, as_of: int) -> dict[str, Any]:
    """Return quotes and the references that they name, as plain values."""
    return plain(await client.quote(consignments, as_of=as_of))
