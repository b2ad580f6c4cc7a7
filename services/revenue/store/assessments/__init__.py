"""Stored assessments, their input, and aggregates over several consignments."""
