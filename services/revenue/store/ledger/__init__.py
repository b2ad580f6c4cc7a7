"""The ledger as it is stored: entries, balances, positions and accounts."""
