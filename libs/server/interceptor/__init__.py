"""The one interceptor: an ordered list of steps around every call."""
