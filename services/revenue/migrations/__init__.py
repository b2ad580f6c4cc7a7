"""Revenue's schema, forward only."""
