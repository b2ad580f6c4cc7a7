"""What a store tells of itself: metrics, space on its disk, and whether it is still the store that it was."""
