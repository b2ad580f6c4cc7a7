"""Temporary storage: which goods lie in it, and when its time limit ends, by the data of their jurisdiction."""
