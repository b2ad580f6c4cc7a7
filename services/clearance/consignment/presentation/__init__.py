"""The presentation of a consignment to customs, as its states have it."""
