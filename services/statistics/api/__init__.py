"""The gRPC service of statistics."""
