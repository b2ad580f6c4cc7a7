"""Conversion of published tariffs into tariff files."""
