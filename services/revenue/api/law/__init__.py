"""The gRPC edge of the versions of law."""
