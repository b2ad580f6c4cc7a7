"""The gRPC edge of movements to another office."""
