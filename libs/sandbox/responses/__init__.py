"""What clients of the sandbox read beside findings of filings: failures of calls, results of other calls, and reasons without a case."""
