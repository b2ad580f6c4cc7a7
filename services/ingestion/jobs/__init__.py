"""Background work of ingestion: what it reads from other services."""
