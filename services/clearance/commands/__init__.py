"""What clearance does to consignments: one use case a file."""
