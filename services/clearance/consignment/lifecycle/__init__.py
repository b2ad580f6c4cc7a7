"""The life of a consignment: the table of transitions, and the machine that applies it to batches."""
