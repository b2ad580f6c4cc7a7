"""The edge of the applications of rights holders."""
