"""What treasuries and jurists ask of revenue, as plain values."""
