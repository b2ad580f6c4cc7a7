"""Commands of treasuries and of those who look after law."""
