"""Licences and certificates: what the register has of them, and what consignments need and use of them."""
