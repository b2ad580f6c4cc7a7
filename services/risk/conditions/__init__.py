"""Conditions in CEL, compiled to numpy over the columns of a batch."""
