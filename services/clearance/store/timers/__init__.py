"""Lists of what is due at a time, one table each."""
