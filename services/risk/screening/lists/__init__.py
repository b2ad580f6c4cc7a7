"""Lists of parties, and the forms of files that they are published in."""
