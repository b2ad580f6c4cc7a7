"""Parts of filings: filed, linked, and joined with their consignments."""
