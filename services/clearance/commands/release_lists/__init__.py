"""Commands of release lists."""
