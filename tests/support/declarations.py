"""An import declaration of our own in WCO DEC 3.6, and how it is read."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from libs.client.filing.declarations.reader import read_declaration
from libs.client.filing.files import Read
from libs.client.plain import plain
from libs.client.row_errors import RowError
from luxor.consignment.v1.consignment_pb2 import Consignment

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "wco_xml"
"""Schemas and messages of the standard, which are no part of the project."""
NAMESPACE = "urn:wco:datamodel:WCO:DEC-DMS:2"

ITEM = """<GovernmentAgencyGoodsItem>
      <SequenceNumeric>1</SequenceNumeric>
      <Commodity>
        <Description>Woven cotton blouse</Description>
        <Classification><ID>62063000</ID><IdentificationTypeCode>TSP</IdentificationTypeCode></Classification>
        <Classification><ID>10</ID><IdentificationTypeCode>TRC</IdentificationTypeCode></Classification>
        <GoodsMeasure><GrossMassMeasure>0.42</GrossMassMeasure></GoodsMeasure>
        <InvoiceLine><ItemChargeAmount currencyID="GBP">19.99</ItemChargeAmount></InvoiceLine>
      </Commodity>
      <GovernmentProcedure><CurrentCode>40</CurrentCode><PreviousCode>00</PreviousCode></GovernmentProcedure>
      <GovernmentProcedure><CurrentCode>C07</CurrentCode></GovernmentProcedure>
    </GovernmentAgencyGoodsItem>"""
DECLARATION = f"""<?xml version="1.0" encoding="UTF-8"?>
<md:MetaData xmlns:md="urn:wco:datamodel:WCO:DocumentMetaData-DMS:2" xmlns="{NAMESPACE}">
  <md:WCODataModelVersionCode>3.6</md:WCODataModelVersionCode>
  <Declaration>
    <FunctionCode>9</FunctionCode>
    <FunctionalReferenceID>DEC-1</FunctionalReferenceID>
    <TypeCode>IMA</TypeCode>
    <GoodsItemQuantity>1</GoodsItemQuantity>
    <BorderTransportMeans><ModeCode>4</ModeCode></BorderTransportMeans>
    <Declarant><ID>GB603202734852</ID></Declarant>
    <Exporter><Name>Meadow Lane Trading Ltd</Name><Address><CountryCode>CN</CountryCode></Address></Exporter>
    <GoodsShipment>
    <TransactionNatureCode>1</TransactionNatureCode>
    {ITEM}
    <Importer><ID>GB553202734852</ID></Importer>
    </GoodsShipment>
  </Declaration>
</md:MetaData>
"""


def changed(*changes: tuple[str, str]) -> str:
    """The declaration with texts replaced that stand in it exactly once."""
    text = DECLARATION
    for before, after in changes:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


def outcome(content: str | bytes) -> Read | RowError:
    """The one thing that a file yields."""
    [found] = read_declaration(io.BytesIO(content.encode() if isinstance(content, str) else content))
    return found


def converted(content: str | bytes) -> Read:
    """The consignment of a file, which is not refused."""
    found = outcome(content)
    assert isinstance(found, Read), found
    return found


def refused(content: str | bytes) -> list[RowError]:
    """The errors of a file."""
    found = outcome(content)
    assert isinstance(found, RowError), found
    return [found, *found.further]


def flat(message: Consignment) -> dict[str, Any]:
    """The values of a consignment by their paths."""
    found: dict[str, Any] = {}

    def add(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for name, below in value.items():
                add(below, f"{path}.{name}" if path else name)
        elif isinstance(value, list):
            for place, below in enumerate(value):
                add(below, f"{path}[{place}]")
        else:
            found[path] = value

    add(plain(message), "")
    return found


def table_of(rows: Sequence[Mapping[str, str]], base: Mapping[str, str]) -> str:
    """Write a CSV of rows that have the values of `base` but for what each says."""
    names = list(dict.fromkeys([*base, *(name for row in rows for name in row)]))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(dict.fromkeys(names, "") | base | row)
    return out.getvalue()
