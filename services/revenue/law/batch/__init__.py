"""Columns of one batch: consignments as filed, groups of equal rows, charges, reasons and notes, quantities, exact arithmetic.

Imports nothing else of the law.
"""
