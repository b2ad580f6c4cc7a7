"""What carriers and officers ask of clearance, as plain values."""
