"""Certificates, and channels to services."""
