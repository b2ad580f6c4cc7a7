"""Names as they are compared: tokens, and how each may be written."""
