"""Background work of clearance: the end of delays, unfinished arrivals, the comparison with ingestion."""
