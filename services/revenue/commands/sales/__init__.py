"""Sales, filed by platforms."""
