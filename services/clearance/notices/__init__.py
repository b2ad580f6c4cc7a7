"""What a notice says, and the code by which a buyer checks it. Pure."""
