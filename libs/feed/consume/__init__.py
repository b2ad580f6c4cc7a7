"""The consumer's side: replicas share the partitions, and each event takes effect exactly once."""
