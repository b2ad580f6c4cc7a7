"""What ingestion announces, as readers of its feed begin with it."""
