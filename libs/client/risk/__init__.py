"""What analysts ask of risk, as plain values."""
