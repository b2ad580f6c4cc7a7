"""Cases of officers in the store."""
