"""What a treasury's office exchanges with its books and its bank."""
