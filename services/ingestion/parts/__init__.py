"""Parts of filings: who may add them, by what they are linked, and how they are joined."""
