"""Files that others write: YAML, with the position of each value, and XML. Both are read strictly."""
