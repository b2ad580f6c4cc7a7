"""The process of a service: its start, its server, health, its store, and its records of traces."""
