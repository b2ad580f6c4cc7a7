"""The use cases of revenue, one a file; each owns its transactions."""
