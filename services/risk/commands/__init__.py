"""What risk does: one use case a file."""
