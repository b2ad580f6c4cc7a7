"""Positions of consignments: stored by pages of one block of MRNs, and by rows."""
