"""The assessment of batches: their input, corrections of it, and aggregates over several consignments."""
