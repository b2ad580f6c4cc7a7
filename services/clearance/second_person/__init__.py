"""Decisions of officers on goods of which a rule requires that a second officer confirms them."""
