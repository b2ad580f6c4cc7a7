"""The ledger: double entry, chained by hash, and what it tells."""
