"""The gRPC service of ingestion."""
