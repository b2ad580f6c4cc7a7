"""What officers do with cases, and their end."""
