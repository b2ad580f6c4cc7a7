"""What callers of ingestion reach."""
