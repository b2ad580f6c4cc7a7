"""Licences for goods that are controlled."""
