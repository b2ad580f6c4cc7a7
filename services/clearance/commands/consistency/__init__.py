"""The check of stored consignments: their versions, and all that refers to them."""
