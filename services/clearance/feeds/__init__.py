"""The feeds that clearance follows, and what it gives to new readers of its own."""
