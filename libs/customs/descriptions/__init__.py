"""Descriptions of goods: which of them name no goods."""
