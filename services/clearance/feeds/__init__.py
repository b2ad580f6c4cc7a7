"""The feeds that clearance follows, and the snapshot for new readers of its own feed."""
