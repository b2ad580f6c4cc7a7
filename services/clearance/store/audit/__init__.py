"""The stored audit trail."""
