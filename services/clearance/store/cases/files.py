"""Cases as their events leave them, their events, and their consignments."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from libs.store.database import Transaction
from libs.store.tables import bulk
from services.clearance.cases.case import Case

CASES_SHOWN_MAX: Final = 100
"""Cases that the status of a consignment names."""
ROWS_A_DELETION: Final = 500
"""Events or consignments of a case that one transaction deletes."""
_NAMES: Final = tuple(field.name for field in fields(Case))
_COLUMNS: Final = ", ".join(_NAMES)
_TYPES: Final[Mapping[str, Any]] = {
    "number": bulk.int8, "version": bulk.int8, "state": bulk.int2, "relation": bulk.int2, "opened_at": bulk.int8, "changed_at": bulk.int8,
    "consignments": bulk.int4, "outcome": bulk.int2, "closed_at": bulk.int8, "hash": bulk.bytea,
}  # fmt: skip
"""Types of the columns that are no text."""
_CASES: Final = ", ".join(f"f.{name}" for name in _NAMES)
_IN_ORDER: Final = (
    "select set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), "
    "set_config('enable_sort', 'off', true)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFilter:
    """Which cases are listed: all that fit every value; None, 0 and "" stand for all."""

    state: int = 0
    office: str | None = None
    officer: str | None = None
    relation: int = 0
    relation_key: str = ""
    mrn: str = ""
    sha256: bytes = b""
    """Of a content that is attached."""


class CaseTables:
    """The cases of officers."""

    async def next_number(self, tx: Transaction) -> int:
        """Return the number of a new case."""
        return int(await tx.raw.fetchval("select nextval('case_number')"))

    async def find(self, tx: Transaction, numbers: Sequence[int], *, lock: bool = False) -> dict[int, Case]:
        """Return the existing cases by number; if they are locked, in the order of their numbers, so that no deadlock can occur."""
        if lock:
            rows = await tx.raw.fetch(
                f"select {_COLUMNS} from case_file where number = any((select $1::bigint[])::bigint[]) and state <> 0 order by number for update",  # noqa: S608
                sorted(set(numbers)),
            )
        else:
            rows = await tx.raw.fetch(
                f"select {_CASES} from unnest((select $1::bigint[])) as w(number) "  # noqa: S608  # our own names
                "cross join lateral (select * from case_file where number = w.number and state <> 0 offset 0) f",
                sorted(set(numbers)),
            )
        return {row["number"]: _case(row) for row in rows}

    async def page(self, tx: Transaction, chosen: CaseFilter, after: tuple[int, int], limit: int) -> list[Case]:
        """Return cases after a state and a number, in this order. `tx` is a transaction or has a snapshot."""
        # The indexes have this order behind each filter: without statistics the planner would read all and sort.
        await tx.raw.execute(_IN_ORDER)
        # Each filter has its statement, in the order of an index, so that a page reads its rows alone.
        # A case without state is being deleted.
        values: list[Any] = [*max(after, (1, 0))]
        parts = []
        for name in ("state", "office", "officer", "relation", "relation_key"):
            value = getattr(chosen, name)
            if value not in (None, 0) and (value or name != "relation_key"):
                values.append(value)
                parts.append(f"and f.{name} = ${len(values)} ")
        source = "case_file f"
        of_content = (chosen.mrn, "case_consignment where mrn"), (chosen.sha256, "case_attachment where sha256")
        for value, table in of_content:
            if not value:
                continue
            values.append(value)
            numbers = f"select number from {table} = ${len(values)}"  # noqa: S608  # our own names
            if source == "case_file f":
                # From its few rows to their cases, whatever the planner knows of the tables.
                cases = "select * from case_file where number = c.number offset 0"
                source = f"({numbers} offset 0) c cross join lateral ({cases}) f"
            else:
                parts.append(f"and f.number in ({numbers}) ")
        values.append(limit)
        rows = await tx.raw.fetch(
            f"select {_CASES} from {source} where (f.state, f.number) > ($1, $2) {''.join(parts)}"  # noqa: S608  # our own names
            f"order by f.state, f.number limit ${len(values)}",
            *values,
        )
        return [_case(row) for row in rows]

    async def write(self, tx: Transaction, cases: Sequence[Case], payloads: Sequence[bytes]) -> None:
        """Store new cases, or what events leave of locked ones, each with its event."""
        columns = {name: [getattr(case, name) for case in cases] for name in _NAMES}
        changes = ", ".join(f"{name} = excluded.{name}" for name in _NAMES if name != "number")
        await bulk.insert(
            tx,
            "case_file",
            {name: _TYPES.get(name, bulk.text)(values) for name, values in columns.items()},
            on_conflict=f"(number) do update set {changes}",
        )
        await bulk.insert(
            tx,
            "case_event",
            {
                "number": bulk.int8(columns["number"]),
                "version": bulk.int8(columns["version"]),
                "payload": bulk.bytea(payloads),
            },
        )

    async def events(self, tx: Transaction, number: int, after: int, limit: int) -> list[bytes]:
        """Return the events of a case behind a version."""
        rows = await tx.raw.fetch(
            "select payload from case_event where number = $1 and version > $2 order by version limit $3",
            number,
            after,
            limit,
        )
        return [bytes(row["payload"]) for row in rows]

    # ------------------------------------------------------------------------------------------ consignments
    async def members(self, tx: Transaction, number: int, mrns: Sequence[str]) -> set[str]:
        """Return which of some consignments are in a case."""
        rows = await tx.raw.fetch(
            "select mrn from case_consignment where number = $1 and mrn = any($2)", number, list(mrns)
        )
        return {row["mrn"] for row in rows}

    async def consignments(self, tx: Transaction, number: int, after: str, limit: int) -> list[tuple[str, int, str]]:
        """Return consignments of a case behind an MRN: MRN, when it was added, and by whom."""
        rows = await tx.raw.fetch(
            "select mrn, added_at, added_by from case_consignment where number = $1 and mrn > $2 order by mrn limit $3",
            number,
            after,
            limit,
        )
        return [(row["mrn"], row["added_at"], row["added_by"]) for row in rows]

    async def of_consignments(self, tx: Transaction, mrns: Sequence[str]) -> dict[str, list[int]]:
        """Return the first CASES_SHOWN_MAX numbers of the cases that contain each consignment, those without any missing."""
        # By consignment first, and in order behind that: the primary key has the order, too, and would read all cases.
        rows = await tx.raw.fetch(
            "select w.mrn, c.number from unnest((select $1::text[])) as w(mrn) cross join lateral (select number from "
            "(select number from case_consignment where mrn = w.mrn offset 0) f order by number limit $2) c order by w.mrn, c.number",
            list(dict.fromkeys(mrns)),
            CASES_SHOWN_MAX,
        )
        found: dict[str, list[int]] = {}
        for row in rows:
            found.setdefault(row["mrn"], []).append(row["number"])
        return found

    async def add(self, tx: Transaction, case: Case, mrns: Sequence[str], by: str) -> None:
        """Store that consignments are in a case since its last change."""
        count = len(mrns)
        await bulk.insert(
            tx,
            "case_consignment",
            {
                "number": bulk.int8([case.number] * count),
                "mrn": bulk.text(list(mrns)),
                "added_at": bulk.int8([case.changed_at] * count),
                "added_by": bulk.text([by] * count),
            },
        )

    async def remove(self, tx: Transaction, case: Case, mrns: Sequence[str]) -> None:
        """Delete consignments from a case."""
        await tx.raw.execute(
            "delete from case_consignment where number = $1 and mrn = any($2)", case.number, list(mrns)
        )

    # ------------------------------------------------------------------------------------------ retention
    async def closed_before(self, tx: Transaction, at: int, without: Collection[int]) -> int | None:
        """Lock the case that was closed first, before an instant, and return its number; None where there is no other one or others lock it."""
        number: int | None = await tx.raw.fetchval(
            "select number from case_file where closed_at < $1 and number <> all($2) order by closed_at limit 1 for update skip locked",
            at,
            list(without),
        )
        return number

    async def delete(self, tx: Transaction, number: int) -> bool:
        """Delete some events or consignments of a case that is locked, and the case with the last of them; return whether it was deleted.

        From the first call on, nobody finds the case, and it is the next one to be deleted.
        """
        await tx.raw.execute("update case_file set state = 0, closed_at = 0 where number = $1 and state <> 0", number)
        for table, key in (("case_event", "version"), ("case_consignment", "mrn")):
            done = await tx.raw.execute(
                f"delete from {table} where number = $1 and {key} = any(array(select {key} from {table} where number = $1 limit $2))",  # noqa: S608
                number,
                ROWS_A_DELETION,
            )
            if int(done.rpartition(" ")[2]) == ROWS_A_DELETION:
                return False
        await tx.raw.execute("delete from case_file where number = $1", number)
        return True


def _case(row: Any) -> Case:
    return Case(**{name: row[name] for name in _NAMES})
