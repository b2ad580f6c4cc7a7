"""The system on one machine: its supervisor, its processes and their state."""
