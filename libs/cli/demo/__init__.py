"""The demo's work and what it prints."""
