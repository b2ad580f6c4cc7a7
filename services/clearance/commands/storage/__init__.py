"""What follows from the time limit of temporary storage."""
