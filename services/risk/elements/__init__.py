"""The elements that a batch is assessed on: those that are computed, and the form in which all are stored. Pure."""
