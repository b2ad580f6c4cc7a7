"""Commands of filers and carriers."""
