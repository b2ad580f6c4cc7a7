"""A PostgreSQL of our own on this machine, for whoever has none."""
