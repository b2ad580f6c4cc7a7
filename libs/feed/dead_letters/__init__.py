"""Events that a consumer could not apply: set aside with their reason, looked at, replayed."""
