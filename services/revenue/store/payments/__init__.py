"""Payments and payouts as they are stored, and payments that wait for their debt."""
