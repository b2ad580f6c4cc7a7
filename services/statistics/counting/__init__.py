"""What a consignment's state adds to the daily cells."""
