"""The feeds that revenue consumes and publishes."""
