"""What callers of clearance reach."""
