"""The metrics of ingestion that several files count."""

from libs.telemetry import counter

late = counter(
    "luxor_ingestion_late_total",
    "Consignments accepted, or declared after a filing before the declaration, after the deadline of their mode and leg",
)
parts = counter("luxor_ingestion_parts_total", "Parts of filings by result", ("outcome",))
