"""Scans from the messages of scanners: the mapping of their elements, reading them, and recording what they state."""
