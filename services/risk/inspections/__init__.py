"""What inspections found, by what chance they were selected, and what that says of all consignments. Pure."""
