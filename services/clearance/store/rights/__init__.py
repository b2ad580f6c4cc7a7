"""Tables of the applications of rights holders."""
