"""gRPC: one file for each service of the contracts, and what their messages become."""
