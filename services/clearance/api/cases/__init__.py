"""The gRPC edge of cases."""
