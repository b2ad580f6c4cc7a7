"""The edge of the officers' work."""
