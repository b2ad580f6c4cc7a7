"""Law: rulebooks as dated data, compiled into columns, and what consignments owe by them."""
