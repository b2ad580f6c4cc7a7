"""The metrics of ingestion that several files count."""

from libs.telemetry import counter

parts = counter("luxor_ingestion_parts_total", "Parts of filings by result", ("outcome",))
