"""The tables that history is kept in."""
