"""Law files: the YAML and CSV that jurists write, read into rulebooks and tariffs, and checked.

Imports `batch` alone, for exact arithmetic and units. `reader` and `tariff` read whole files; `overlay` replaces values in them.
"""
