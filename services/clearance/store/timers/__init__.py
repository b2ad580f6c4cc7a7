"""Lists of what is due at a time or waits for an officer, one table each."""
