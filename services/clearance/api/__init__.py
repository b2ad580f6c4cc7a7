"""The gRPC services of clearance."""
