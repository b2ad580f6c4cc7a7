"""Files that people write: YAML, read strictly, with the position of each value."""
