"""What a filing has to hold: its data elements and their checks."""
