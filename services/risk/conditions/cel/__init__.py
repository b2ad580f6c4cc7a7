"""The CEL library: its syntax trees, types, functions and macros, and its own evaluation."""
