"""Commands of customs' officers, and of those who look into carriers' arrivals."""
