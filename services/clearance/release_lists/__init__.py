"""Release lists: which goods may leave by them, and what a mark on them means. Pure."""
