"""Background work of statistics."""
