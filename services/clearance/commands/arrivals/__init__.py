"""Arrivals of goods, and the bindings of carriers to documents that they depend on."""
