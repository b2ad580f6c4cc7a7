"""The applications of rights holders."""

from collections.abc import Sequence
from typing import Final

import asyncpg

from libs.store.database import Transaction
from libs.store.tables import bulk
from services.clearance.rights.matching import Application

APPLICATIONS_MAX: Final = 10_000
"""Applications that are registered at most, since each replica has all of them in memory."""
_TEXTS: Final = ("number", "holder", "rights", "changed_by")
_NUMBERS: Final = ("from_day", "to_day", "version")


class ApplicationTable:
    """The register of applications."""

    async def revision(self, tx: Transaction) -> int:
        """Return how often the register has changed."""
        return int(await tx.raw.fetchval("select revision from rights_revision"))

    async def begin_change(self, tx: Transaction) -> None:
        """Lock the register until this transaction ends; readers notice the change once it commits."""
        await tx.raw.execute("update rights_revision set revision = revision + 1")

    async def page(self, tx: Transaction, after: str, limit: int) -> list[Application]:
        """Return applications by number, after a number."""
        records = await tx.raw.fetch(
            "select * from rights_application where number > $1 order by number limit $2", after, limit
        )
        return [_application(record) for record in records]

    async def put(self, tx: Transaction, applications: Sequence[Application]) -> None:
        """Store applications in place of those before, while the register is locked."""
        columns = {name: bulk.text([getattr(each, name) for each in applications]) for name in _TEXTS}
        columns |= {name: bulk.int4([getattr(each, name) for each in applications]) for name in _NUMBERS}
        columns |= {
            "countries": bulk.text([",".join(each.countries) for each in applications]),
            "goods": bulk.text([",".join(each.goods) for each in applications]),
            "words": bulk.text(["\n".join(each.words) for each in applications]),
            "revoked": bulk.boolean([each.revoked for each in applications]),
            "changed_at": bulk.int8([each.changed_at for each in applications]),
        }
        assignments = ", ".join(f"{name} = excluded.{name}" for name in columns if name != "number")
        await bulk.insert(
            tx, "rights_application", columns, on_conflict=f"(number) do update set {assignments}", order_by=("number",)
        )


def _application(record: asyncpg.Record) -> Application:
    return Application(
        **{name: record[name] for name in (*_TEXTS, *_NUMBERS, "revoked", "changed_at")},
        countries=tuple(record["countries"].split(",")),
        goods=tuple(record["goods"].split(",")),
        words=tuple(record["words"].split("\n")),
    )
