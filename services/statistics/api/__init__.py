"""What callers of statistics reach."""
