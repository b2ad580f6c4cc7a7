"""The gRPC services that revenue offers, and the messages that they read and write."""
