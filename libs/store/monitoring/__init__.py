"""Monitoring of a store: metrics, space on its disk, and whether it was restored."""
