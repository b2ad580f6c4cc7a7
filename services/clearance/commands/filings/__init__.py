"""Filings of a page with the decision on them."""
