"""Commands with simulated traffic."""
