"""Commodity codes from descriptions of goods: hashed n-grams, a linear model of low rank, its training and its file."""
