"""The life of a consignment: its states, what leads from one to another, and what is judged by the way."""
