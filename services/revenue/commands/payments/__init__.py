"""Record payments and payouts, and forget what payers wrote."""
