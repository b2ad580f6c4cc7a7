"""What ingestion does when it is asked to: one use case a file."""
