"""Tables of the parties of consignments."""
