"""What controls of goods order with a decision, and the licences that are written off."""
