"""Numbers of schemes in filings, and Revenue's register of them."""
