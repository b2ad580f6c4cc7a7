"""A PostgreSQL server on this machine, for installations without one."""
