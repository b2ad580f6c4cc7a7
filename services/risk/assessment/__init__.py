"""A whole assessment: everything that risk holds against a batch, put together. Pure."""
