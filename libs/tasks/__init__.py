"""Background work of a process: waiting that a stop ends."""
