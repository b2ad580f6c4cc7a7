"""Clearance's schema, forward only."""
