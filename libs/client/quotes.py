"""Quotes: from options of a command line or from a file, in plain values."""

from collections.abc import Iterable, Sequence
from typing import Any

from libs.client.client import Client
from libs.client.columns import columns
from libs.client.plain import plain
from luxor.consignment.v1.consignment_pb2 import Consignment


def consignment(values: dict[str, str], items: Sequence[dict[str, str]]) -> Consignment:
    """Make a consignment from cells, as a CSV has them, by column; raise Fault naming the column that is wrong."""
    message = Consignment()
    _set(message, values)
    for each in items:
        _set(message.items.add(), each)
    return message


def _set(message: Any, values: dict[str, str]) -> None:
    known = columns()
    # The currency of an amount tells its decimal places, so it is read first.
    for name in sorted(values, key=lambda each: bool(known[each].currency)):
        if values[name]:
            known[name].read(message, values[name], name)


async def quote(client: Client, consignments: Iterable[Consignment], *, as_of: int) -> dict[str, Any]:
    """Return quotes and the references that they name, as plain values."""
    return plain(await client.quote(consignments, as_of=as_of))
