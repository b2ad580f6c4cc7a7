"""The feeds that risk follows."""
