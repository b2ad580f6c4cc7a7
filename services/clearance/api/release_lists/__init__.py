"""The gRPC edge of release lists."""
