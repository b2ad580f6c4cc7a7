"""Changes of the applications of rights holders, and the ones by which filings are matched."""
