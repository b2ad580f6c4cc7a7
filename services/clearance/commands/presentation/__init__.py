"""The presentation of goods to customs, where it is an act of its own."""
