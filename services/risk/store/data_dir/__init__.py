"""Files of risk in the data directory of a replica."""
