"""The assessment before loading: which filings it concerns, what risk recommends, and the terms of requests by office."""
