"""The edge of the audit trail: which calls are recorded, and what proves it."""
