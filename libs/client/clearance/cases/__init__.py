"""Cases of officers."""
