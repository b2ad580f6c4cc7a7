"""The quality of filings by the four terms of the WCO and UPU guidelines: scores of each filing, and scorecards of filers."""
