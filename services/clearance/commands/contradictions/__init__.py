"""Recording contradictions between filings and parts of other parties."""
