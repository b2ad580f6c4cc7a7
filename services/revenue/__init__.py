"""Revenue: computes duty and tax from rulebooks, says who owes and who collects, and explains every line."""
