"""The law by which this replica works: loaded as a whole and replaced as a whole."""
