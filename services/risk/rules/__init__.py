"""Rule sets: the form they are written in, how they are checked, and what they find in a batch. Pure."""
