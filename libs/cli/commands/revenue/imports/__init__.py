"""`luxor revenue import`: published files of tariffs and rates, read and checked."""
