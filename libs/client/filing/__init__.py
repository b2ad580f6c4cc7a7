"""What filers and carriers hand in: consignments from CSV and JSON Lines, in batches, and arrivals."""
