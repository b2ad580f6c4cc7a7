"""Decisions of officers that take effect only when a second officer confirms them."""
