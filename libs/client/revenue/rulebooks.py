"""The law that is loaded, in plain values."""

from typing import Any, Final

from libs.client.client import Client
from luxor.revenue.v1.revenue_pb2 import Rulebook

NUMBERS: Final = ("values", "unverified_values", "tariff_lines", "unverified_tariff_lines")


async def rulebooks(client: Client, jurisdiction: str = "") -> dict[str, Any]:
    """Return the rulebooks, all or those of a jurisdiction or a country in which they hold, and the totals of their numbers."""
    wanted = jurisdiction.upper()
    found = [
        _plain(book)
        for book in (await client.rulebooks()).rulebooks
        if not wanted or wanted == book.jurisdiction or wanted in book.areas
    ]
    return {"rulebooks": found, "totals": {name: sum(book[name] for book in found) for name in NUMBERS}}


def _plain(book: Rulebook) -> dict[str, Any]:
    """Return also 0 and empty texts, so that a reader need not know what is omitted."""
    names = ("jurisdiction", "name", "version", "from_day", "to_day", "currency")
    told: dict[str, Any] = {name: getattr(book, name) for name in names}
    told |= {"areas": list(book.areas), "charges": list(book.charges)}
    told |= {name: getattr(book, name) for name in NUMBERS}
    told["references"] = [
        {name: getattr(each, name) for name in ("id", "law", "article", "address", "verified", "note")}
        for each in book.references
    ]
    return told
