"""The gRPC edge of returns in bulk."""
