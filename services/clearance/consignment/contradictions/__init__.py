"""Contradictions between a filing and parts of other parties."""
