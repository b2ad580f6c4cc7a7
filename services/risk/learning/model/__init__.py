"""A model: its file, its scores, and why it gave them."""
