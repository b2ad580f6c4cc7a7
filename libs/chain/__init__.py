"""Chains of hashes and the seals over them, as the ledger and the audit trail store them."""
