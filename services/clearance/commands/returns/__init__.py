"""Returns of the goods of many consignments."""
