"""The columns of a model: samples, and what is made of them."""
