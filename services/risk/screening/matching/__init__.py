"""The index of listed names, and the scores of a batch of names against it."""
