"""Sales: their content as columns, and their versions."""
