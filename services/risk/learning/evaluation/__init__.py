"""How good a model is, how two compare, and how far columns have moved since the training."""
