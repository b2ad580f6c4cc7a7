"""Chains, seals and how far both are proven."""
