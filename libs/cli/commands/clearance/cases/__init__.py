"""`luxor case`."""
