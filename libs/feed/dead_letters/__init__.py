"""Events that a consumer could not apply: stored with their reason, listed, replayed."""
