"""The feed that statistics follows."""
