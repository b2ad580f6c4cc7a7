"""What a batch was assessed on, as it is stored: the columns that the law reads, and the other facts that it depended on.

Adjustments, assessments after a change of an aggregate, and what-if runs compute with it again, exactly: the same filings, the same
sums of other consignments, the same register of scheme numbers. Some 60 bytes a consignment, compressed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.columns import Table
from libs.columns.packing import Packed, pack
from libs.columns.stored import compressed, decompressed, narrow, reading
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from services.revenue.assessment.aggregates import Aggregates
from services.revenue.law.assess.eligibility.scheme_register import EMPTY, Register
from services.revenue.law.program.scheme_numbers import registered_number

ROW_COLUMNS: Final = (
    "mrn", "version", "filer", "accepted_at", "destination_country", "consignee_address_country",
    "consignee_address_region", "consignee_person_type", "consignor_person_type", "order_time", "export_time",
    "direct_shipment_time", "direct_shipment_place", "dispatch_country", "freight_minor", "freight_currency",
    "insurance_minor", "insurance_currency", "clearance_fee_minor", "clearance_fee_currency", "prices_include_tax",
    "gross_mass_mg", "transport_mode", "transport_service", "nature", "declarant_identifier", "carrier_identifier",
    "order_platform", "order_number", "order_parts", "additional_procedures", "returned_mrn", "declarant_role", "direction",
    "split", "previous_part_mrn", "house_document_number",
)  # fmt: skip
"""Columns of consignments that the law reads, that accounts are named by, or by which a consignment is bound to a sale that is filed later."""
CHILD_COLUMNS: Final = {
    "fiscal_references": ("scheme", "number"),
    "guarantees": ("reference",),
    "items": (
        "number", "commodity_code", "price_minor", "price_currency", "tax_charged_minor", "tax_charged_currency",
        "tax_rate_ppm", "preference", "origin_country", "net_mass_mg", "gross_mass_mg", "quantity_milli", "quantity_unit",
        "supplementary_quantity_milli", "supplementary_unit", "gift", "additional_procedures",
    ),
}  # fmt: skip
"""The same of what stands many times in a consignment."""
_ROWS: Final = "rows"
_REGISTER: Final = "register"
_LIMITS: Final = "limits"
_NO_NUMBER: Final = ""
"""Stands in a stored picture of the register for all numbers of a scheme that no filing of the batch tells."""


@dataclass(frozen=True, slots=True)
class Input:
    """A batch as it was assessed: n consignments."""

    table: Table
    """A table of ConsignmentColumns with ROW_COLUMNS and CHILD_COLUMNS alone."""
    register: Register
    """What the register said of the batch's scheme numbers."""
    aggregates: Aggregates
    """What other consignments made together."""
    rows: npt.NDArray[np.int64]
    """Per consignment its row in the stored answer; (n,)."""

    def take(self, rows: npt.NDArray[np.intp]) -> Input:
        """Return some of the consignments; each may be in `rows` only once."""
        return Input(self.table.take(rows), self.register, self.aggregates.take(rows), self.rows[rows])


def pack_columns(content: ConsignmentColumns, table: Table, fresh: npt.NDArray[np.intp]) -> bytes:
    """Pack the columns of the rows of a batch that were assessed for the first time.

    `content` is the table as it came, which spares to encode it anew where all rows are kept.
    """
    if len(fresh) != table.rows:
        content = table.take(fresh).encode(ConsignmentColumns)
    return compressed(_law_columns(content).SerializeToString())


def pack_facts(table: Table, register: Register, aggregates: Aggregates, fresh: npt.NDArray[np.intp]) -> bytes:
    """Pack the facts beside the columns of those rows: the aggregates, and the register's answers about their numbers."""
    whole = len(fresh) == table.rows
    aggregates = aggregates if whole else aggregates.take(fresh)
    arrays: dict[str, npt.NDArray[np.generic]] = {_ROWS: fresh.astype(np.int32)}
    arrays |= {name: narrow(values) for name, values in aggregates.arrays().items()}
    facts: dict[str, int | str] = {
        "input": 1,
        _REGISTER: _register_text(register, table if whole else table.take(fresh)),
        _LIMITS: json.dumps(aggregates.names),
    }
    return compressed(pack(facts, arrays))


def unpack_input(columns: bytes, facts: bytes) -> Input:
    """Read what pack_columns and pack_facts made. Raises InputError."""
    with reading("the stored batch"):
        table = Table.parse(ConsignmentColumns, decompressed(columns))
        packed = Packed(decompressed(facts))
        rows = packed.array(_ROWS).astype(np.int64)
        register = _register_of(str(packed.facts[_REGISTER]))
        arrays = {name: packed.array(name).astype(np.int64) for name in packed.names if name != _ROWS}
        others = Aggregates.of_arrays(arrays, json.loads(str(packed.facts[_LIMITS])))
        if len(rows) != table.rows:
            raise ValueError(f"it has {table.rows} consignments and has the answers of {len(rows)}")
    return Input(table, register, others, rows)


def pack_aggregates(aggregates: Aggregates) -> bytes:
    """Return the aggregates of one consignment as bytes."""
    arrays: dict[str, npt.NDArray[np.generic]] = {name: narrow(values) for name, values in aggregates.arrays().items()}
    return pack({_LIMITS: json.dumps(aggregates.names)}, arrays)


def unpack_aggregates(content: bytes) -> Aggregates:
    """Read what pack_others made. Raises InputError."""
    with reading("the stored sums"):
        packed = Packed(content)
        arrays = {name: packed.array(name).astype(np.int64) for name in packed.names}
        return Aggregates.of_arrays(arrays, json.loads(str(packed.facts[_LIMITS])))


def join_inputs(inputs: Sequence[Input]) -> Input:
    """Several batches as one; the register said the same of all."""
    starts = np.cumsum([0, *(each.table.rows for each in inputs[:-1])])
    return Input(
        Table.concat([each.table for each in inputs]),
        inputs[0].register,
        Aggregates.join([each.aggregates for each in inputs], starts.tolist()),
        np.concatenate([each.rows for each in inputs]),
    )


def _law_columns(content: ConsignmentColumns) -> ConsignmentColumns:
    """Only what the law reads; whole columns are copied, none is decoded."""
    kept = ConsignmentColumns(rows=content.rows)
    _copy(content, kept, ROW_COLUMNS)
    for name, columns in CHILD_COLUMNS.items():
        if content.HasField(name):  # type: ignore[arg-type]  # a name of the contract
            source, target = getattr(content, name), getattr(kept, name)
            target.offsets.extend(source.offsets)
            _copy(source, target, columns)
    return kept


def _copy(source: Any, target: Any, names: Sequence[str]) -> None:
    for name in names:
        if source.HasField(name):
            getattr(target, name).CopyFrom(getattr(source, name))


def _register_text(register: Register, table: Table) -> str:
    """Return the register's entries for the numbers of a batch as JSON: scheme, number, first and last day."""
    if not register.spans:
        return "[]"
    references = table.child("fiscal_references")
    schemes, numbers = references.ints("scheme").values, references.strings("number").tolist()
    asked = {(scheme, registered_number(number)) for scheme, number in zip(schemes.tolist(), numbers, strict=True)}
    told = [[*key, *register.spans[key]] for key in sorted(asked) if key in register.spans]
    there = {scheme for scheme, *_ in told}
    told += [[scheme, _NO_NUMBER, 0, -1] for scheme in sorted(register.schemes - there)]
    return json.dumps(told, separators=(",", ":"))


def _register_of(text: str) -> Register:
    told = json.loads(text)
    return Register({(scheme, number): (first, last) for scheme, number, first, last in told}) if told else EMPTY
