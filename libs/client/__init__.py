"""The typed async client of Luxor's services, and what people file with it: CSV, JSON Lines, whole files in batches."""
