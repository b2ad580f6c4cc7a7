"""Where the presentation of goods to customs is an act of its own, by law as dated data."""
