"""Use cases of movements to another office: begin, arrive, end, and the end of the time limit."""
