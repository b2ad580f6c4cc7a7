"""Controls of goods: document requests, scans and examinations by customs and partner agencies."""
