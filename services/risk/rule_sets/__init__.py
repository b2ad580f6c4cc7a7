"""Rule sets: the form they are written in, how they are checked, and which one is in force."""
