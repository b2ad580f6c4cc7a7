"""Nodes of compiled conditions over numpy columns."""
