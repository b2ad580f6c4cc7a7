"""The goods that requests name, and the answers to commands on them."""
