"""Import of published tariffs: readers of files, checks, and law files."""
