"""What the elements of filings leave out of the contract."""

from libs.columns import Kind, schema_of
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from services.ingestion.filing import elements


def uncovered() -> list[str]:
    """Name the columns of the contract that no entry covers."""
    schema = schema_of(ConsignmentColumns)
    envelope = {
        "mrn",
        "version",
        "filer",
        "accepted_at",
        "partition",
        "carrier_id",
        "filer_trusted_until",
        "missing_roles",
        "awaited_parts",
        "contradictions",
        "contradiction_count",
        "unchanged_since",
        "completed_versions",
    }
    missing = [name for name in schema.columns if name not in elements.CONSIGNMENT and name not in envelope]
    children = {name: child for name, child in schema.children.items() if name not in envelope}
    for name, child in children.items():
        missing += [f"{name}.{column}" for column in child.columns if column not in elements.CHILDREN[name]]
    lists = [name for name, kind in schema.columns.items() if kind is Kind.CHILD and name not in envelope]
    missing += [name for name in lists if name not in elements.CHILDREN]
    return missing
