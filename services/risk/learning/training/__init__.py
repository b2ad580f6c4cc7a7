"""How a model is trained, and on what."""
