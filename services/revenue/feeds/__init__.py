"""The feed that revenue consumes."""
